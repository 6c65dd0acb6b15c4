import { TokenError } from '@fleetgate/shared';
import type { Peer, VerifiedToken, VerifyToken } from '@fleetgate/verifier';
import { compileGrants } from './authorization/compile.ts';
import type { Principal } from './authorization/decide.ts';
import type { Policy } from './authorization/policy.ts';
import type { Revocations, RevokedAs } from './revocation.ts';

/** A token, and what it grants now. */
export interface Admitted {
  readonly token: VerifiedToken;
  readonly principal: Principal;
}

/** From tokens to principals, under the policy in force. */
export interface Authority {
  /** @throws TokenError, `token_revoked` and `client_quarantined` among them */
  admit(token: Uint8Array | undefined, peer: Peer): Promise<Admitted>;
  /** What a token that verified grants now. The same object until the policy changes. */
  principalOf(token: VerifiedToken): Principal;
  /** Unset for a token that is good. */
  revokedAs(token: VerifiedToken): RevokedAs | undefined;
  policy: Policy | undefined;
}

export function createAuthority(
  verify: VerifyToken,
  revocations: Revocations,
  options: { readonly policy: Policy | undefined; readonly clockSkewSeconds: number },
): Authority {
  let policy = options.policy;
  let principals = new WeakMap<VerifiedToken, Principal>();

  function principalOf(token: VerifiedToken): Principal {
    let principal = principals.get(token);
    if (principal === undefined) {
      principal = Object.freeze({
        clientId: token.clientId,
        issuer: token.issuer,
        tokenId: token.tokenId,
        expiresAtMs: (token.expiresAtSeconds + options.clockSkewSeconds) * 1000,
        grants: compileGrants(policy, token),
      });
      principals.set(token, principal);
    }
    return principal;
  }

  return {
    async admit(bytes, peer) {
      const token = await verify(bytes, peer);
      const revokedAs = revocations.revokedAs(token);
      if (revokedAs !== undefined)
        throw new TokenError(revokedAs, 'the token has been revoked', { of: token });
      return { token, principal: principalOf(token) };
    },
    principalOf,
    revokedAs: (token) => revocations.revokedAs(token),
    get policy() {
      return policy;
    },
    set policy(next) {
      policy = next;
      principals = new WeakMap();
    },
  };
}
