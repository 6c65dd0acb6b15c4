import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { privateJwkMembers } from '@fleetgate/shared';
import { CompactEncrypt } from 'jose/jwe/compact/encrypt';
import { UsageError } from '../exit.ts';

/** Turns a text into one that the holder of a private key alone can read: a JWE, compact (RFC 7516 §7.1). */
export type Encrypt = (text: string) => Promise<string>;

/**
 * Encryption to the public key in a file, a JWK or PEM: P-256, P-384, P-521 or X25519 by ECDH-ES+A256KW, RSA by
 * RSA-OAEP-256; the content by A256GCM.
 * @throws UsageError for a file without such a key, or with a private one
 */
export function encryptTo(file: string): Encrypt {
  const { key, kid } = readPublicKey(file);
  const alg = key.asymmetricKeyType === 'rsa' ? 'RSA-OAEP-256' : 'ECDH-ES+A256KW';
  return (text) =>
    new CompactEncrypt(new TextEncoder().encode(text))
      .setProtectedHeader({ alg, enc: 'A256GCM', ...(kid !== undefined && { kid }) })
      .encrypt(key);
}

function readPublicKey(file: string): { key: KeyObject; kid: string | undefined } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
  const jwk = asJwk(text);
  if (/PRIVATE KEY/.test(text) || privateJwkMembers.some((name) => jwk !== undefined && name in jwk)) {
    throw new UsageError(
      `${file} holds a private key; encrypt to the public one, and keep that where it is read`,
    );
  }
  let key: KeyObject;
  try {
    key = jwk === undefined ? createPublicKey(text) : createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    throw new UsageError(`${file} holds no public key, neither JWK nor PEM`);
  }
  if (!['ec', 'x25519', 'rsa'].includes(key.asymmetricKeyType ?? '')) {
    throw new UsageError(`${file} holds a key that nothing is encrypted to; take one of EC, X25519 or RSA`);
  }
  const kid = jwk?.['kid'];
  return { key, kid: typeof kid === 'string' ? kid : undefined };
}

function asJwk(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
