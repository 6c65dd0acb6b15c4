import type { Policy } from '@fleetgate/broker/policy';
import { directFilters, namedWords, placeholdersOf, writtenFilters } from './named-words.ts';
import { type RegisteredClient, tokenOf } from './registered-token.ts';
import type { Subject } from './subject.ts';

/** A registered client that stands for all that are registered alike. */
export interface RegistryPrincipal extends Subject {
  /** How many it stands for. */
  readonly count: number;
  /** Some of them. */
  readonly examples: readonly string[];
  /** As they are registered, with `{client_id}` and `{group}` for their own. */
  readonly scope: string;
  /** As this one is registered. */
  readonly registered: string;
  /** Whether it is the first of two that stand for the same. */
  readonly isFirst: boolean;
}

export interface Principals {
  readonly principals: readonly RegistryPrincipal[];
  /** Clients whose id is a word of a filter, of the policy or of another client's scope. */
  readonly named: ReadonlySet<string>;
  readonly clients: number;
  /** Clients that were left out. */
  readonly leftOut: number;
}

export interface PrincipalOptions {
  /** Fields of metadata that the issuer copies into tokens. Default: none. */
  readonly tokenClaims?: readonly string[];
  /** Whether clients of different groups are told apart where no filter does. Default: false. */
  readonly tellsGroups?: boolean;
}

/** Shapes that are told apart: some 20 MiB. A fleet has a few for each group; what is beyond is said to be left out. */
export const MAX_SHAPES = 20_000;

/** Words of scopes that are looked for among client ids: as many as shapes could have. */
const MAX_WORDS = 100_000;

const MAX_EXAMPLES = 3;

interface Shape {
  readonly scope: string;
  readonly one: RegisteredClient;
  two?: RegisteredClient;
  count: number;
  readonly examples: string[];
}

/**
 * Two clients of each kind there is. What a policy decides depends on scope, id, group and claims, and of an id that no
 * filter names only on that it is no other one: so two with the same rest, and those that are named, stand for all.
 * Reads the clients once, and again only where scopes or groups have words that may be ids of others.
 */
export async function principalsOf(
  policies: readonly Policy[],
  clients: () => AsyncIterable<RegisteredClient>,
  { tokenClaims = [], tellsGroups = false }: PrincipalOptions = {},
): Promise<Principals> {
  const written = policies.flatMap(writtenFilters);
  const placeholders = placeholdersOf(written);
  const claims = tokenClaims.filter((name) => placeholders.has(`claim:${name}`));
  const words = namedWords(written);
  const shapes = new Map<string, Shape>();
  const named = new Map<string, RegisteredClient>();
  const laterWords = new Set<string>();
  let [count, leftOut] = [0, 0];

  for await (const client of clients()) {
    count += 1;
    const { client_id, group } = client;
    if (words.has(client_id)) named.set(client_id, client);
    const scope = shapeScope(client);
    const ownGroup =
      tellsGroups || placeholders.has('group') || scope.includes('{group}') ? group : undefined;
    const values = claims.map((name) => client.metadata?.[name] ?? null);
    const key = JSON.stringify([scope, ownGroup ?? null, values, words.has(client_id) && client_id]);
    const shape = shapes.get(key);
    if (shape !== undefined) {
      shape.count += 1;
      shape.two ??= kept(client, claims);
      if (shape.examples.length < MAX_EXAMPLES) shape.examples.push(client_id);
    } else if (shapes.size < MAX_SHAPES && laterWords.size < MAX_WORDS) {
      shapes.set(key, { scope, one: kept(client, claims), count: 1, examples: [client_id] });
      const texts = values.filter((value) => typeof value === 'string');
      for (const word of [...namedWords(directFilters(scope)), ownGroup, ...texts]) {
        if (word != null && !words.has(word)) laterWords.add(word);
      }
    } else leftOut += 1;
  }

  const alone: RegisteredClient[] = [];
  if (laterWords.size > 0) {
    for await (const client of clients()) {
      if (!laterWords.has(client.client_id) || named.has(client.client_id)) continue;
      named.set(client.client_id, client);
      alone.push(kept(client, claims));
    }
  }
  const principal = (
    client: RegisteredClient,
    rest: Omit<RegistryPrincipal, keyof Subject | 'registered'>,
  ) => ({
    ...tokenOf(policies, claims, client),
    registered: client.scope,
    ...rest,
  });
  return {
    principals: [
      ...Array.from(shapes.values()).flatMap(({ one, two, count: alike, examples, scope }) =>
        [one, ...(two === undefined ? [] : [two])].map((client, i) =>
          principal(client, { count: alike, examples, scope, isFirst: i === 0 }),
        ),
      ),
      ...alone.map((client) =>
        principal(client, {
          count: 1,
          examples: [client.client_id],
          scope: shapeScope(client),
          isFirst: true,
        }),
      ),
    ],
    named: new Set(named.keys()),
    clients: count,
    leftOut,
  };
}

/** What is needed of a client: its other metadata may be large. */
function kept({ client_id, group, scope, metadata = {} }: RegisteredClient, claims: readonly string[]) {
  const values = claims.filter((name) => Object.hasOwn(metadata, name)).map((name) => [name, metadata[name]]);
  return { client_id, group: group ?? null, scope, metadata: Object.fromEntries(values) };
}

/** The scope of a client in one order, with places for what is its own: so those of a fleet that name each device are one. */
export function shapeScope({ client_id, group, scope }: RegisteredClient): string {
  return scope
    .split(' ')
    .map((token) => {
      const [, start, filter] = /^(mqtt:[a-z]+:)(.*)$/.exec(token) ?? [];
      if (start === undefined || filter === undefined) return token;
      const levels = filter.split('/').map((level) => {
        if (level === client_id) return '{client_id}';
        return level === group ? '{group}' : level;
      });
      return start + levels.join('/');
    })
    .sort()
    .join(' ');
}
