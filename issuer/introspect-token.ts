import { type AccessTokenClaims, OAuthError, TokenError } from '@fleetgate/shared';
import { authenticateClient, claimedClient } from './client-auth/authenticate.ts';
import type { ClientAuthContext } from './client-auth/client-auth.ts';
import { audienceOf, type GrantSettings } from './grant.ts';
import type { OwnToken, OwnTokens } from './own-token.ts';
import { type RefusalContext, recordRefusal } from './refusal.ts';
import type { ClientRecord } from './registry/registry.ts';
import type { ClientRequest } from './token-request.ts';

/** A client's question about a token (RFC 7662 §2.1). */
export interface IntrospectTokenRequest extends ClientRequest {
  readonly token: string | undefined;
}

/** What is said of a token (RFC 7662 §2.2). Of one that is not active, or not for who asks, nothing more. */
export type TokenIntrospection = { readonly active: false } | ActiveToken;

export interface ActiveToken
  extends Readonly<
    Pick<AccessTokenClaims, 'client_id' | 'exp' | 'iat' | 'nbf' | 'sub' | 'aud' | 'iss' | 'jti'>
  > {
  readonly active: true;
  readonly token_type: 'Bearer';
  /** Unset for a token without one, as in the answer it came with. */
  readonly scope?: string;
  readonly cnf?: AccessTokenClaims['cnf'];
}

export interface TokenIntrospector {
  /**
   * Says whether a token is good, and what it grants: to the client it was issued to, and, to one registered with
   * `fleetgate.introspect`, of tokens for an audience of its own. Refusals are in the audit trail, durably, before the
   * promise settles; answers are not, as resource servers ask about each token again and again.
   * @throws OAuthError `invalid_client`, `invalid_request`, `server_error`, `temporarily_unavailable`
   */
  introspectToken(request: IntrospectTokenRequest): Promise<TokenIntrospection>;
  /**
   * The same of any token, for administrators.
   * @throws FleetgateError `registry_unavailable`
   */
  inspectToken(token: string): Promise<TokenIntrospection>;
}

export interface IntrospectTokenContext extends RefusalContext {
  readonly tokens: OwnTokens;
  readonly clientAuth: ClientAuthContext;
  readonly grants: GrantSettings;
}

/** The scope of clients that may introspect what was issued to others. */
const INTROSPECT_SCOPE = 'fleetgate.introspect';

const inactive: TokenIntrospection = Object.freeze({ active: false });

export function tokenIntrospector(context: IntrospectTokenContext): TokenIntrospector {
  return {
    inspectToken: (token) => introspect(token, () => true, context),
    async introspectToken(request) {
      const { caller, token } = request;
      const claimed = claimedClient(request);
      try {
        const client = await authenticateClient(request, claimed, context.clientAuth);
        if (token === undefined) throw new OAuthError('invalid_request', 'token is missing');
        return await introspect(token, (known) => maySee(client, known, context.grants), context);
      } catch (error) {
        const { clientId } = claimed;
        return await recordRefusal(error, { action: 'token.introspect', caller, clientId }, context);
      }
    },
  };
}

async function introspect(
  text: string,
  isVisible: (token: OwnToken) => boolean,
  { tokens, registry }: IntrospectTokenContext,
): Promise<TokenIntrospection> {
  const token = await readToken(tokens, text);
  if (token === undefined || !isVisible(token)) return inactive;
  return (await registry.isRevoked(token)) ? inactive : describeToken(token.claims);
}

/** The token; unset for none of this issuer that lives. */
async function readToken(tokens: OwnTokens, text: string): Promise<OwnToken | undefined> {
  try {
    return await tokens.verify(text);
  } catch (error) {
    if (error instanceof TokenError) return undefined;
    throw error;
  }
}

function maySee(client: ClientRecord, { clientId, claims }: OwnToken, grants: GrantSettings): boolean {
  if (clientId === client.clientId) return true;
  // By its whole name: a pattern does not reach scopes of the issuer.
  if (!client.scope.split(' ').includes(INTROSPECT_SCOPE)) return false;
  const own = audienceOf(client, grants);
  return claims.aud.some((audience) => own.includes(audience));
}

function describeToken(claims: AccessTokenClaims): ActiveToken {
  const { scope, client_id, exp, iat, nbf, sub, aud, iss, jti, cnf } = claims;
  return {
    active: true,
    ...(scope === '' ? {} : { scope }),
    client_id,
    token_type: 'Bearer',
    exp,
    iat,
    nbf,
    sub,
    aud,
    iss,
    jti,
    ...(cnf === undefined ? {} : { cnf }),
  };
}
