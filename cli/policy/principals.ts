import type { Policy } from '@fleetgate/broker';
import { isIdentifier, parseScope } from '@fleetgate/shared';
import type { ClientView } from '../admin-client.ts';
import type { Subject } from './subject.ts';

/** What is looked at of a registered client. */
export type RegisteredClient = Pick<ClientView, 'client_id' | 'group' | 'scope' | 'metadata'>;

/** A client, or one that stands for many that are registered alike. */
export interface RegistryPrincipal extends Subject {
  /** How many it stands for. */
  readonly count: number;
  /** Some of them. */
  readonly examples: readonly string[];
  /** As it is registered, with `{client_id}` and `{group}` for its own. */
  readonly scope: string;
  /** Names the shape that those who are registered alike have in common. */
  readonly shape: string;
}

/** Clients that are each looked at for themselves. Beyond, two stand for all that are registered alike. */
export const MAX_EACH = 200;

/** Shapes that are told apart. A fleet has a few; beyond, the rest is not looked at, and that is said. */
export const MAX_SHAPES = 500;

const MAX_EXAMPLES = 3;

export interface Principals {
  readonly principals: readonly RegistryPrincipal[];
  readonly clients: number;
  /** Clients that were left out. */
  readonly leftOut: number;
}

interface Shape {
  readonly scope: string;
  readonly group: 'none' | 'some' | 'shared';
  readonly sample: RegisteredClient;
  count: number;
  examples: string[];
}

/**
 * The clients of a registry as few as stand for all: what a policy decides depends on scope, id and group, and of ids and
 * groups only on whether they are the same, unless the policy names them.
 */
export async function principalsOf(
  policy: Policy,
  clients: AsyncIterable<RegisteredClient>,
): Promise<Principals> {
  const each: RegisteredClient[] = [];
  const shapes = new Map<string, Shape>();
  const groups = new Map<string, Set<string>>();
  let [count, leftOut] = [0, 0];
  for await (const client of clients) {
    count += 1;
    if (each.length <= MAX_EACH) each.push(client);
    const scope = shapeScope(client);
    const key = JSON.stringify([scope, client.group != null]);
    const shape = shapes.get(key);
    if (shape !== undefined) {
      shape.count += 1;
      if (shape.examples.length < MAX_EXAMPLES) shape.examples.push(client.client_id);
    } else if (shapes.size < MAX_SHAPES) {
      shapes.set(key, {
        scope,
        group: client.group == null ? 'none' : 'some',
        sample: client,
        count: 1,
        examples: [client.client_id],
      });
    } else {
      leftOut += 1;
      continue;
    }
    noteGroup(groups, key, client.group);
  }
  if (count <= MAX_EACH) {
    return { principals: each.map((client) => principalOf(policy, client)), clients: count, leftOut: 0 };
  }
  const principals = Array.from(shapes, ([key, shape]) =>
    standIns(policy, shape, (groups.get(key)?.size ?? 0) < shape.count),
  ).flat();
  return { principals, clients: count, leftOut };
}

/** Groups of a shape that are remembered: enough to see that two of its clients share one. */
const MAX_GROUPS = 1000;

function noteGroup(groups: Map<string, Set<string>>, key: string, group: string | null | undefined): void {
  if (group == null) return;
  const known = groups.get(key) ?? new Set();
  if (known.size < MAX_GROUPS) known.add(group);
  groups.set(key, known);
}

/** Its scope with places for what is its own: so those of a fleet that name each device are one. */
function shapeScope({ client_id, group, scope }: RegisteredClient): string {
  const words = scope.split(' ').map((token) =>
    token.startsWith('mqtt:')
      ? token
          .split('/')
          .map((level) => {
            const at = level.lastIndexOf(':') + 1;
            const [start, word] = [level.slice(0, at), level.slice(at)];
            if (word === client_id) return `${start}{client_id}`;
            return word === group ? `${start}{group}` : level;
          })
          .join('/')
      : token,
  );
  return words.join(' ');
}

function standIns(policy: Policy, { scope, group, sample, count, examples }: Shape, sharesGroup: boolean) {
  const names = ['one', 'two'].slice(0, Math.min(2, count));
  return names.map((name) => ({
    ...principalOf(policy, {
      ...sample,
      client_id: `some-client-${name}`,
      scope,
      group: group === 'none' ? null : `some-group-${sharesGroup ? 'one' : name}`,
    }),
    count,
    examples,
  }));
}

/** A client for itself. */
export function principalOf(policy: Policy, client: RegisteredClient): RegistryPrincipal {
  const { client_id: clientId, group, scope, metadata = {} } = client;
  const shape = shapeScope(client);
  return {
    clientId,
    ...(group != null && { group }),
    scopes: tokensOf(policy, scope, clientId, group ?? undefined),
    claims: metadata,
    count: 1,
    examples: [clientId],
    scope: shape,
    shape: JSON.stringify([shape, group != null]),
  };
}

/** All that a token of the client may hold: of a pattern, every scope of the policy that it permits. */
function tokensOf(policy: Policy, scope: string, clientId: string, group: string | undefined): string[] {
  const tokens = parseScope(scope).flatMap(({ token }) => {
    if (token.endsWith('.*') && !token.startsWith('mqtt:')) {
      const start = token.slice(0, -1);
      return Array.from(policy.scopes.keys()).filter((name) => name.startsWith(start) && name !== start);
    }
    if (!token.startsWith('mqtt:')) return [token];
    if (token.includes('{group}') && !isIdentifier(group)) return [];
    return [token.replaceAll('{client_id}', clientId).replaceAll('{group}', group ?? '')];
  });
  return Array.from(new Set(tokens));
}
