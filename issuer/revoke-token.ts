import { OAuthError, TokenError } from '@fleetgate/shared';
import { auditEvent, clientActor } from './audit.ts';
import { authenticateClient, claimedClient } from './client-auth/authenticate.ts';
import type { ClientAuthContext } from './client-auth/client-auth.ts';
import type { OwnToken, OwnTokens } from './own-token.ts';
import { type RefusalContext, recordRefusal } from './refusal.ts';
import type { ClientRecord } from './registry/registry.ts';
import { goneAfter } from './revocation.ts';
import { REVOKED_ALREADY } from './revocations.ts';
import type { ClientRequest } from './token-request.ts';

/** A client's request to revoke a token (RFC 7009 §2.1). */
export interface RevokeTokenRequest extends ClientRequest {
  readonly token: string | undefined;
}

export interface TokenRevoker {
  /**
   * Revokes a token for the client it was issued to. A token that is another client's, no token of this issuer,
   * expired or revoked already is left as it is, and the client is told nothing of that (RFC 7009 §2.2). All of it is
   * in the audit trail, durably, before the promise settles.
   * @throws OAuthError `invalid_client`, `invalid_request`, `server_error`, `temporarily_unavailable`
   */
  revokeToken(request: RevokeTokenRequest): Promise<void>;
}

export interface RevokeTokenContext extends RefusalContext {
  readonly tokens: OwnTokens;
  readonly clientAuth: ClientAuthContext;
  /** Called after a token was revoked. */
  readonly onRevoked: () => void;
}

/** Why a token was left as it is, in the audit trail. */
const FOREIGN_TOKEN = 'token_foreign';

export function tokenRevoker(context: RevokeTokenContext): TokenRevoker {
  return {
    async revokeToken(request) {
      const { caller, token } = request;
      const claimed = claimedClient(request);
      try {
        const client = await authenticateClient(request, claimed, context.clientAuth);
        if (token === undefined) throw new OAuthError('invalid_request', 'token is missing');
        await revoke(client, token, request, context);
      } catch (error) {
        const { clientId } = claimed;
        await recordRefusal(error, { action: 'token.revoke', caller, clientId }, context);
      }
    },
  };
}

async function revoke(
  { clientId }: ClientRecord,
  text: string,
  { caller }: RevokeTokenRequest,
  { tokens, registry, now, onRevoked }: RevokeTokenContext,
): Promise<void> {
  const actor = clientActor(clientId);
  const act = { actor, action: 'token.revoke', caller, target: clientId } as const;
  const token = await readToken(tokens, text);
  if (typeof token === 'string' || token.clientId !== clientId) {
    const result = typeof token === 'string' ? token : FOREIGN_TOKEN;
    return registry.recordEvent(auditEvent({ ...act, atMs: now(), result }));
  }
  const { tokenId } = token;
  const event = auditEvent({ ...act, atMs: now(), tokenId });
  const expiresAtSeconds = goneAfter(token.claims.exp);
  const { outcome } = await registry.revoke({ kind: 'token', tokenId, expiresAtSeconds }, event);
  if (outcome === 'recorded') onRevoked();
  else await registry.recordEvent({ ...event, result: REVOKED_ALREADY });
}

/** The token, or why it is none of this issuer that lives. */
async function readToken(tokens: OwnTokens, text: string): Promise<OwnToken | string> {
  try {
    return await tokens.verify(text);
  } catch (error) {
    if (error instanceof TokenError) return error.code;
    throw error;
  }
}
