import { type AccessTokenClaims, MAX_TOKEN_LENGTH, TokenError } from '@fleetgate/shared';
import type { SigningKeys } from './keys/signing-keys.ts';
import type { RevocableToken } from './revocation.ts';

/** A token this issuer made, that has not expired. */
export interface OwnToken extends RevocableToken {
  readonly claims: AccessTokenClaims;
}

export interface OwnTokens {
  /**
   * What a token of this issuer says, that has not expired. Whether it was revoked is not looked at.
   * @throws TokenError
   */
  verify(token: string): Promise<OwnToken>;
}

const compactPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * Knows the tokens of this issuer again. The first part of each is known to the letter, so nothing is parsed that was
 * not signed here: whoever writes another algorithm, key or type into it names no key at all.
 */
export function ownTokens(context: {
  readonly keys: SigningKeys;
  readonly issuerUrl: () => string;
  readonly now: () => number;
}): OwnTokens {
  const { keys, issuerUrl, now } = context;

  async function verifierOf(encodedHeader: string) {
    const verifier = keys.verifierOf(encodedHeader);
    if (verifier !== undefined) return verifier;
    // Perhaps a key that another process on this database has made.
    await keys.reload();
    return keys.verifierOf(encodedHeader);
  }

  return {
    async verify(token) {
      if (token === '') throw new TokenError('token_missing', 'there is no token');
      if (token.length > MAX_TOKEN_LENGTH) {
        throw new TokenError('token_too_long', `the token is longer than ${MAX_TOKEN_LENGTH} characters`);
      }
      if (!compactPattern.test(token))
        throw new TokenError('token_malformed', 'the token is not a compact JWS');
      const [header = '', payload = '', encodedSignature = ''] = token.split('.');
      // A changed unused bit in the last character would give the same bytes: one token, several texts.
      if (Buffer.from(encodedSignature, 'base64url').toString('base64url') !== encodedSignature) {
        throw new TokenError('token_malformed', 'the signature is not canonical base64url');
      }
      const verifier = await verifierOf(header);
      if (verifier === undefined) throw new TokenError('token_key_unknown', 'no key of this issuer made it');
      if (!(await verifier.isSignature(encodedSignature, `${header}.${payload}`))) {
        throw new TokenError('token_signature_invalid', 'the signature does not verify');
      }
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as AccessTokenClaims;
      checkClaims(claims, issuerUrl(), now() / 1000);
      return {
        claims,
        tokenId: claims.jti,
        clientId: claims.client_id,
        issuedAtSeconds: claims.iat,
        keyId: verifier.kid,
      };
    },
  };
}

// Made here, so each claim is of its type. The same keys may have signed under another URL.
function checkClaims({ iss, nbf, exp }: AccessTokenClaims, issuerUrl: string, nowSeconds: number): void {
  if (iss !== issuerUrl) throw new TokenError('token_issuer_unknown', 'iss is another issuer');
  if (nbf > nowSeconds) throw new TokenError('token_not_yet_valid', 'nbf lies in the future');
  if (exp <= nowSeconds) throw new TokenError('token_expired', 'the token has expired');
}
