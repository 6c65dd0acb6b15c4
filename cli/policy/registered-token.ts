import type { Policy } from '@fleetgate/broker/policy';
import { isIdentifier, parseScope } from '@fleetgate/shared';
import type { ClientView } from '../admin-client.ts';
import type { Subject } from './subject.ts';

/** What is looked at of a registered client. */
export type RegisteredClient = Pick<ClientView, 'client_id' | 'group' | 'scope' | 'metadata' | 'labels'>;

/**
 * All that a token of the client may hold: what it is registered for, and of a pattern every scope of the policies that it
 * permits. `tokenClaims` are the fields of metadata that the issuer copies into tokens.
 */
export function tokenOf(
  policies: readonly Policy[],
  tokenClaims: readonly string[],
  { client_id: clientId, group, scope, metadata = {} }: RegisteredClient,
): Subject {
  const names = new Set(policies.flatMap(({ scopes }) => Array.from(scopes.keys())));
  const tokens = parseScope(scope).flatMap(({ token }) => {
    if (token.startsWith('mqtt:')) return concrete(token, clientId, group);
    return token.endsWith('.*') ? Array.from(names).filter((name) => permits(token, name)) : [token];
  });
  return {
    clientId,
    ...(group != null && { group }),
    scopes: Array.from(new Set(tokens)),
    claims: Object.fromEntries(
      tokenClaims.filter((name) => Object.hasOwn(metadata, name)).map((name) => [name, metadata[name]]),
    ),
  };
}

function concrete(token: string, clientId: string, group: string | null | undefined): string[] {
  if (token.includes('{group}') && !isIdentifier(group)) return [];
  return [token.replaceAll('{client_id}', clientId).replaceAll('{group}', group ?? '')];
}

/** As the issuer: `event.*` permits `event.create` and `event.a.b`, and no name with an empty part. */
function permits(pattern: string, name: string): boolean {
  const start = pattern.slice(0, -1);
  if (!name.startsWith(start) || start.startsWith('fleetgate.')) return false;
  return name
    .slice(start.length)
    .split('.')
    .every((part) => part !== '');
}
