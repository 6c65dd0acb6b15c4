import { OAuthError, TokenError } from '@fleetgate/shared';
import { type ClientCertificate, thumbprintOf } from './client-certificate.ts';
import type { OwnToken, OwnTokens } from './own-token.ts';
import type { Registry } from './registry/registry.ts';

/** Lets in who holds a token of this issuer. */
export interface BearerAccess {
  /**
   * The token in an `Authorization` header (RFC 6750 §2.1): made here, alive, not revoked, with that scope; one that is
   * bound to a certificate only on a connection that shows it (RFC 8705 §3).
   * @throws OAuthError `invalid_token`, `insufficient_scope`; FleetgateError `registry_unavailable`
   */
  authenticate(
    authorization: string | undefined,
    scope: string,
    certificate?: ClientCertificate,
  ): Promise<OwnToken>;
}

/** Access to what the issuer itself serves, by tokens it made. */
export function bearerAccess(tokens: OwnTokens, registry: Registry): BearerAccess {
  return {
    async authenticate(authorization, scope, certificate) {
      const [, token = ''] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
      const own = await verify(tokens, token);
      checkBinding(own, certificate);
      if (await registry.isRevoked(own)) throw refused('the token was revoked');
      // Whole names only. The audience is not asked for: the scope is of the issuer and means nothing elsewhere.
      if (!own.claims.scp.includes(scope)) {
        throw new OAuthError('insufficient_scope', `the token lacks the scope ${scope}`);
      }
      return own;
    },
  };
}

async function verify(tokens: OwnTokens, token: string): Promise<OwnToken> {
  try {
    return await tokens.verify(token);
  } catch (error) {
    if (error instanceof TokenError) throw refused(error.message, error);
    throw error;
  }
}

function checkBinding({ claims: { cnf } }: OwnToken, certificate: ClientCertificate | undefined): void {
  if (cnf === undefined || cnf['x5t#S256'] === (certificate && thumbprintOf(certificate))) return;
  throw refused('the token is bound to a certificate that was not shown');
}

function refused(message: string, cause?: TokenError): OAuthError {
  return new OAuthError('invalid_token', message, { cause });
}
