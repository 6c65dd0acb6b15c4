import {
  covers,
  FleetgateError,
  MAX_SCOPE_LENGTH,
  OAuthError,
  parseScope,
  parseScopeTokens,
  type ScopeToken,
} from '@fleetgate/shared';
import { concrete, type RegisteredScope, registeredScope } from './registered-scope.ts';
import type { ClientRecord } from './registry/registry.ts';
import { hasStar, permits } from './scope-pattern.ts';
import { type ClaimValue, tokenClaims } from './token-claims.ts';
import type { TokenRequest } from './token-request.ts';

/** What one token grants. */
export interface Grant {
  /** Scope tokens, each once, direct ones with concrete filters only. */
  readonly scopes: readonly string[];
  /** Never empty. */
  readonly audience: readonly string[];
  readonly lifetimeSeconds: number;
  /** Claims beside those that every token has. */
  readonly claims: Readonly<Record<string, ClaimValue>> | undefined;
}

/** What the issuer's configuration says of all grants. */
export interface GrantSettings {
  /** Of a client that was registered without one. */
  readonly defaultAudience: readonly string[];
  /** Of a client that was registered without one. */
  readonly tokenLifetimeSeconds: number;
  /** Of any client, also one registered with more before this was lowered. */
  readonly maxTokenLifetimeSeconds: number;
  /** Fields of a client's metadata that become claims. */
  readonly tokenClaims: readonly string[];
}

/**
 * What this client may have of what it asks for. Pure; nothing is ever widened.
 * @throws OAuthError `unsupported_grant_type`, `unauthorized_client`, `invalid_scope`, `invalid_target`
 */
export function grantFor(client: ClientRecord, request: TokenRequest, settings: GrantSettings): Grant {
  if (request.grantType !== 'client_credentials') {
    throw new OAuthError('unsupported_grant_type', 'grant_type must be client_credentials');
  }
  if (!client.grantTypes.includes(request.grantType)) {
    throw new OAuthError('unauthorized_client', 'this client is not registered for client_credentials');
  }
  const lifetimeSeconds = client.tokenLifetimeSeconds ?? settings.tokenLifetimeSeconds;
  return {
    scopes: grantedScopes(client, request.scope),
    audience: grantedAudience(audienceOf(client, settings), request),
    lifetimeSeconds: Math.min(lifetimeSeconds, settings.maxTokenLifetimeSeconds),
    claims: tokenClaims(client.metadata, settings.tokenClaims),
  };
}

/** The audiences a client is registered for. */
export function audienceOf(
  { audience }: ClientRecord,
  { defaultAudience }: Pick<GrantSettings, 'defaultAudience'>,
): readonly string[] {
  return audience.length > 0 ? audience : defaultAudience;
}

function grantedScopes(client: ClientRecord, requested: TokenRequest['scope']): string[] {
  const registered = registeredScope(client);
  const granted = isOmitted(requested)
    ? registered.tokens
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

function covered(requested: ScopeToken, registered: RegisteredScope, client: ClientRecord): ScopeToken {
  const wanted = concrete(requested, client);
  if (wanted !== undefined && isCovered(wanted, registered)) return wanted;
  const problem =
    requested.kind === 'named' && hasStar(requested.token)
      ? 'is a pattern; ask for the scopes it stands for by name'
      : 'is not registered for this client';
  throw new OAuthError('invalid_scope', `scope '${requested.token}' ${problem}`);
}

function isCovered(wanted: ScopeToken, { tokens, patterns }: RegisteredScope): boolean {
  if (tokens.some((one) => allows(one, wanted))) return true;
  return wanted.kind === 'named' && patterns.some((pattern) => permits(pattern, wanted.token));
}

function allows(registered: ScopeToken, wanted: ScopeToken): boolean {
  if (registered.kind === 'named' || wanted.kind === 'named') return registered.token === wanted.token;
  return registered.action === wanted.action && covers(registered.filter, wanted.filter);
}

function grantedAudience(allowed: readonly string[], { audience, resource = [] }: TokenRequest): string[] {
  for (const one of resource) checkResource(one);
  const wanted = [...audience, ...resource];
  for (const one of wanted) {
    // Whole names only (RFC 8725 §3.9).
    if (!allowed.includes(one)) {
      throw new OAuthError(
        'invalid_target',
        'an audience or resource asked for is not registered for this client',
      );
    }
  }
  return Array.from(new Set(wanted.length > 0 ? wanted : allowed));
}

// RFC 3986 §4.3 absolute-URI: a scheme and no fragment. Whether the rest is well-formed the registration says.
const absoluteUriPattern = /^[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~[\]]+$/;

function checkResource(resource: string): void {
  if (absoluteUriPattern.test(resource)) return;
  throw new OAuthError(
    'invalid_target',
    'a resource must be an absolute URI without a fragment (RFC 8707 §2)',
  );
}
