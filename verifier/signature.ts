import { signatures } from '@fleetgate/shared';
import type { VerificationKey } from './key-set.ts';

/**
 * Whether the key made the signature of a compact JWS. Beside the event loop, so that a storm of connections leaves it
 * to the messages.
 * @param text three parts of base64url, the last the signature
 */
export function isSignedBy(text: string, { alg, key }: VerificationKey): Promise<boolean> {
  const dot = text.lastIndexOf('.');
  return signatures.verify(alg, key, text.slice(0, dot), text.slice(dot + 1));
}
