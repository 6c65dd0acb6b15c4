import {
  covers,
  type DirectScope,
  directScopeToken,
  FleetgateError,
  MAX_SCOPE_LENGTH,
  nearest,
  OAuthError,
  parseScope,
  parseScopeTokens,
  type ScopeToken,
} from '@fleetgate/shared';
import type { ClientRecord } from './registry/registry.ts';
import type { TokenRequest } from './token-request.ts';

/** What one token grants. */
export interface Grant {
  /** Scope tokens, each once, direct ones with concrete filters only. */
  readonly scopes: readonly string[];
  /** Never empty. */
  readonly audience: readonly string[];
  readonly lifetimeSeconds: number;
}

/** What applies to a client that was registered without it. */
export interface GrantDefaults {
  readonly audience: readonly string[];
  readonly tokenLifetimeSeconds: number;
}

/**
 * What this client may have of what it asks for. Pure; nothing is ever widened.
 * @throws OAuthError `unsupported_grant_type`, `unauthorized_client`, `invalid_scope`, `invalid_target`
 */
export function grantFor(client: ClientRecord, request: TokenRequest, defaults: GrantDefaults): Grant {
  if (request.grantType !== 'client_credentials') {
    throw new OAuthError('unsupported_grant_type', 'grant_type must be client_credentials');
  }
  if (!client.grantTypes.includes(request.grantType)) {
    throw new OAuthError('unauthorized_client', 'this client is not registered for client_credentials');
  }
  return {
    scopes: grantedScopes(client, request.scope),
    audience: grantedAudience(client.audience.length > 0 ? client.audience : defaults.audience, request),
    lifetimeSeconds: client.tokenLifetimeSeconds ?? defaults.tokenLifetimeSeconds,
  };
}

/**
 * Checks a scope for registration: well-formed, and no placeholder but `{client_id}` and `{group}` in direct scopes.
 * @throws FleetgateError `scope_malformed`
 */
export function checkRegisteredScope(scope: string): void {
  for (const token of parseScope(scope)) {
    if (token.kind === 'named') continue;
    for (const [, name = ''] of token.filter.matchAll(/\{([^{}/]*)\}/g)) {
      if (placeholders.has(name)) continue;
      const near = nearest(name, placeholders.keys());
      const hint = near === undefined ? 'it may be {client_id} or {group}' : `did you mean {${near}}?`;
      throw new FleetgateError('scope_malformed', `unknown placeholder in scope '${token.token}'; ${hint}`);
    }
  }
}

const placeholders: ReadonlyMap<string, (client: ClientRecord) => string | undefined> = new Map([
  ['client_id', ({ clientId }) => clientId],
  ['group', ({ group }) => group],
]);

function grantedScopes(client: ClientRecord, requested: TokenRequest['scope']): string[] {
  const registered = parseScope(client.scope)
    .map((token) => concrete(token, client))
    .filter((token) => token !== undefined);
  const granted = isOmitted(requested)
    ? registered
    : parseRequested(requested).map((token) => covered(token, registered, client));
  return Array.from(new Set(granted.map(({ token }) => token)));
}

// RFC 6749 §3.1: a parameter without a value counts as omitted.
function isOmitted(scope: TokenRequest['scope']): scope is undefined | '' | readonly [] {
  return scope === undefined || scope.length === 0;
}

function parseRequested(scope: string | readonly string[]): ScopeToken[] {
  try {
    if (typeof scope === 'string') return parseScope(scope);
    const length = scope.reduce((sum, token) => sum + token.length + 1, -1);
    if (length <= MAX_SCOPE_LENGTH) return parseScopeTokens(scope);
  } catch (error) {
    if (!(error instanceof FleetgateError)) throw error;
    throw new OAuthError('invalid_scope', error.message);
  }
  throw new OAuthError('invalid_scope', `scope is longer than ${MAX_SCOPE_LENGTH} characters`);
}

function covered(requested: ScopeToken, registered: readonly ScopeToken[], client: ClientRecord): ScopeToken {
  const wanted = concrete(requested, client);
  if (wanted !== undefined && registered.some((one) => allows(one, wanted))) return wanted;
  throw new OAuthError('invalid_scope', `scope '${requested.token}' is not registered for this client`);
}

function allows(registered: ScopeToken, wanted: ScopeToken): boolean {
  if (registered.kind === 'named' || wanted.kind === 'named') return registered.token === wanted.token;
  return registered.action === wanted.action && covers(registered.filter, wanted.filter);
}

/** The token with its placeholders filled in; `undefined` when the client has no value for one of them. */
function concrete(token: ScopeToken, client: ClientRecord): ScopeToken | undefined {
  if (token.kind === 'named' || !token.filter.includes('{')) return token;
  let filter = token.filter;
  for (const [name, valueFor] of placeholders) {
    if (!filter.includes(`{${name}}`)) continue;
    const value = valueFor(client);
    if (value === undefined) return undefined;
    // An identifier: nothing in it means anything in a filter.
    filter = filter.replaceAll(`{${name}}`, value);
  }
  return { ...token, filter, token: directScopeToken(token.action, filter) } satisfies DirectScope;
}

function grantedAudience(allowed: readonly string[], { audience }: TokenRequest): string[] {
  for (const one of audience) {
    // Whole names only (RFC 8725 §3.9).
    if (!allowed.includes(one)) {
      throw new OAuthError(
        'invalid_target',
        'an audience or resource asked for is not registered for this client',
      );
    }
  }
  return Array.from(new Set(audience.length > 0 ? audience : allowed));
}
