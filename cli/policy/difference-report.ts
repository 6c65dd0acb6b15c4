import type { Policy } from '@fleetgate/broker/policy';
import { type PolicyChange, policyDifference } from './difference.ts';
import { directFilters, writtenFilters } from './named-words.ts';
import type { Principals, RegistryPrincipal } from './principals.ts';
import { type RegisteredClient, tokenOf } from './registered-token.ts';
import type { Subject } from './subject.ts';
import { tokenShapes } from './token-shapes.ts';

/** A change with whose it is. */
export interface ReportedChange extends PolicyChange {
  /** Scopes of a token, a group or a client, with what of its values matters. */
  readonly subject: string;
  /** Registered clients it is so of; absent where no registry was looked at. */
  readonly clients?: number;
}

export interface DifferenceReport {
  readonly changes: readonly ReportedChange[];
  /** What was not looked at whole. */
  readonly incomplete: readonly string[];
}

/** What tokens gain and lose, whoever may hold them. What is so of a token is not told again of one that has its scopes and values and more. */
export function differenceOfTokens(before: Policy, after: Policy): DifferenceReport {
  const { shapes, incomplete } = tokenShapes([before, after]);
  const told = new Map<string, ReadonlySet<string>[]>();
  const changes = shapes.flatMap((shape) => {
    const marks = new Set([...shape.scopes, ...shape.words]);
    return policyDifference(before, after, shape).flatMap((change): ReportedChange[] => {
      const keys = keysOf(change, shape);
      if (keys.some((key) => told.get(key)?.some((fewer) => fewer.isSubsetOf(marks)))) return [];
      for (const key of keys) told.set(key, [...(told.get(key) ?? []), marks]);
      return [{ subject: shape.name, ...change }];
    });
  });
  return { changes, incomplete };
}

/** Texts one of which is the same for two tokens where only their own values differ. */
function keysOf(
  { action, change, only, filter, except }: PolicyChange,
  { clientId, group }: Subject,
): string[] {
  const own = (written: string) =>
    written
      .split('/')
      .map((level) => (level === clientId ? '{client_id}' : level === group ? '{group}' : level))
      .join('/');
  // A level that is as the own value may stand for itself.
  const ways = [
    [own(filter), except.map(own)],
    [own(filter), except],
    [filter, except],
  ];
  return Array.from(new Set(ways.map((way) => JSON.stringify([action, change, only, ...way]))));
}

/**
 * What registered clients gain and lose, for each group or each client that stands for others. Of a group the topics have
 * `{client_id}` where each client has its own id.
 */
export function differenceOfClients(
  before: Policy,
  after: Policy,
  { principals, named, leftOut }: Principals,
  by: 'client' | 'group',
): DifferenceReport {
  // One that is registered as no other is also there by itself where its id is a word of others.
  const alone = new Set<string>();
  const changes = principals
    .filter(({ isFirst }) => isFirst)
    .flatMap((principal) => {
      const { clientId, group, count, scope } = principal;
      if (by === 'client') return reported(clientId, count, policyDifference(before, after, principal));
      if (count === 1 && named.has(clientId)) {
        if (alone.has(clientId)) return [];
        alone.add(clientId);
        return reported(groupWords(group, scope), count, policyDifference(before, after, principal));
      }
      const anyone = withoutId(principal, [before, after]);
      const told = policyDifference(before, after, anyone).map((change) => withPlaceholder(change, anyone));
      return reported(groupWords(group, scope), count, told);
    });
  return { changes, incomplete: leftOut === 0 ? [] : [`${leftOut} clients`] };
}

/** What these very clients gain and lose, each by itself. */
export function differenceOfEach(
  before: Policy,
  after: Policy,
  clients: readonly RegisteredClient[],
  tokenClaims: readonly string[],
): DifferenceReport {
  const changes = clients.flatMap((client) =>
    reported(
      client.client_id,
      1,
      policyDifference(before, after, tokenOf([before, after], tokenClaims, client)),
    ),
  );
  return { changes, incomplete: [] };
}

const groupWords = (group: string | undefined, scope: string) =>
  `${group === undefined ? 'no group' : `group ${group}`}, ${scope || 'no scope'}`;

const reported = (subject: string, clients: number, changes: readonly PolicyChange[]): ReportedChange[] =>
  changes.map((change) => ({ subject, clients, ...change }));

/** A client that is registered alike, with an id that no filter names. */
function withoutId({ group, scope, claims }: RegistryPrincipal, policies: readonly Policy[]): Subject {
  const levels = [...policies.flatMap(writtenFilters), ...directFilters(scope)].flatMap((filter) =>
    filter.split('/'),
  );
  let clientId = 'any-client';
  while (levels.some((level) => level.includes(clientId))) clientId += '-';
  const registered = { client_id: clientId, scope, metadata: claims, labels: {} };
  return tokenOf(policies, Object.keys(claims), {
    ...registered,
    ...(group !== undefined && { group }),
  });
}

function withPlaceholder<Change extends PolicyChange>(change: Change, { clientId }: Subject): Change {
  const shown = (text: string) => text.replaceAll(clientId, '{client_id}');
  const { only, filter, except, examples } = change;
  return {
    ...change,
    only: shown(only),
    filter: shown(filter),
    except: except.map(shown),
    examples: examples.map(shown),
  };
}
