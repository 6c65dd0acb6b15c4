import { TokenError } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';
import type { Attempt } from './authorization/decide.ts';
import { type Explanation, explain } from './authorization/explain.ts';
import { type ConnectRefusal, refusalOfError } from './connect.ts';
import type { Core } from './core.ts';

/** What a token would be told: of an attempt, or already of a CONNECT. Holds what the token says, not the token. */
export type TokenExplanation =
  | { readonly refused: ConnectRefusal; readonly because: string }
  | { readonly token: VerifiedToken; readonly explanation: Explanation };

/**
 * What is decided of an attempt of whoever holds that token, after it was verified as at a CONNECT: signature, claims, time
 * and revocations. The certificate that it may be bound to counts as shown.
 */
export async function explainToken(core: Core, token: string, attempt: Attempt): Promise<TokenExplanation> {
  const { authority, settings } = core;
  try {
    const { token: verified, principal } = await authority.admit(Buffer.from(token, 'latin1'), {
      certificateThumbprint: claimedThumbprint(token),
    });
    return { token: verified, explanation: explain(principal, attempt, settings.now()) };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    return { refused: refusalOfError(error), because: error.message };
  }
}

/** Read before anything is verified: it opens nothing that the token itself does not. */
function claimedThumbprint(token: string): string | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const { cnf } = claims as { cnf?: { 'x5t#S256'?: unknown } };
    const thumbprint = cnf?.['x5t#S256'];
    return typeof thumbprint === 'string' ? thumbprint : undefined;
  } catch {
    return undefined;
  }
}
