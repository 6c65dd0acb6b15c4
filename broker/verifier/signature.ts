import { isSignature } from '@fleetgate/shared';
import type { VerificationKey } from './key-set.ts';

/**
 * Whether the key made the signature of a compact JWS. In the thread pool: a storm of connections leaves the event loop
 * to the messages.
 * @param text three parts of base64url, the last the signature
 */
export function isSignedBy(text: string, { alg, key }: VerificationKey): Promise<boolean> {
  const dot = text.lastIndexOf('.');
  const input = Buffer.from(text.slice(0, dot), 'latin1');
  return isSignature(alg, input, key, Buffer.from(text.slice(dot + 1), 'base64url'));
}
