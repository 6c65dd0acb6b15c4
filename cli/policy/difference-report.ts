import type { Policy } from '@fleetgate/broker';
import { type PolicyChange, policyDifference } from './difference.ts';
import type { Principals } from './principals.ts';
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

/** What registered clients gain and lose, for each group or each client that stands for others. */
export function differenceOfClients(
  before: Policy,
  after: Policy,
  { principals, leftOut }: Principals,
  by: 'client' | 'group',
): DifferenceReport {
  const changes = principals
    .filter(({ isFirst }) => isFirst)
    .flatMap((principal) => {
      const { clientId, group, count, scope } = principal;
      const subject =
        by === 'client'
          ? clientId
          : `${group === undefined ? 'no group' : `group ${group}`}, ${scope || 'no scope'}`;
      return policyDifference(before, after, principal).map((change) => ({
        subject,
        clients: count,
        ...change,
      }));
    });
  return { changes, incomplete: leftOut === 0 ? [] : [`${leftOut} clients`] };
}
