import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';
import type {
  AccessTokenClaims,
  AccessTokenHeader,
  JsonWebKeySet,
  PublicJsonWebKey,
  SigningAlgorithm,
} from '@fleetgate/shared';
import { calculateJwkThumbprint } from 'jose';
import { auditEvent, issuerActor } from './audit.ts';
import { openKeyEncryption } from './key-encryption.ts';
import type { Registry, StoredSigningKey } from './registry/registry.ts';

/** Milliseconds for which the published keys are not read again: another process may have added one. */
const RELOAD_INTERVAL_MS = 1000;

/** Bits of an RSA key (RFC 7518 §3.3 asks for 2048 or more; signing takes the cube of it). */
const RSA_MODULUS_BITS = 2048;

export interface SigningKeysOptions {
  readonly registry: Registry;
  readonly keyEncryptionKeyFile: string;
  readonly algorithm: SigningAlgorithm;
  readonly now: () => number;
}

export interface SigningKeys {
  /** The claims as a compact JWS by the active key. Throws once that key was revoked. */
  sign(claims: AccessTokenClaims): string;
  /** The published key that makes tokens with this first part; unset for none. */
  verifierOf(encodedHeader: string): TokenVerifier | undefined;
  /** All public keys as they were read last. */
  jwks(): JsonWebKeySet;
  /** Reads the public keys again, so that those of another process on this database are published too. */
  reload(): Promise<void>;
  /** Publishes a key no longer that was revoked. */
  withdraw(kid: string): void;
}

/** A published key of ours, for tokens of ours. */
export interface TokenVerifier {
  readonly kid: string;
  isSignature(signature: Buffer, signingInput: string): boolean;
}

/**
 * The signing keys of the registry. The first start makes one; so does a start with another algorithm than the active
 * key's, and then the old public key stays published.
 * @throws FleetgateError `key_file_invalid`, `registry_unavailable`
 */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { registry, keyEncryptionKeyFile, algorithm, now } = options;
  let stored: readonly StoredSigningKey[] = await registry.signingKeys();
  const encryption = openKeyEncryption(keyEncryptionKeyFile, stored.length > 0);
  if (activeOf(stored)?.algorithm !== algorithm) {
    const { kid, publicJwk, privateJwk } = await generateKey(algorithm);
    const event = auditEvent({ atMs: now(), actor: issuerActor, action: 'key.activate', target: kid });
    const encryptedPrivateJwk = encryption.encrypt(JSON.stringify(privateJwk), kid);
    await registry.activateSigningKey(
      { kid, algorithm, publicJwk, encryptedPrivateJwk, createdAtMs: now() },
      event,
    );
    // Of two processes that start at once the key of one is stored: both use what the registry says.
    stored = await registry.signingKeys();
  }
  const active = stored.find((key) => key.state === 'active') ?? missing();
  const privateJwk = JSON.parse(encryption.decrypt(active.encryptedPrivateJwk, active.kid)) as JsonWebKey;
  const signer = compactSigner(active, createPrivateKey({ key: privateJwk, format: 'jwk' }));
  const withdrawn = new Set<string>();
  let published = publish(stored);
  let verifiers = verifiersOf(stored);
  let readAtMs = now();
  let reading: Promise<void> | undefined;

  // Keys that were read while one of them was revoked may hold that one still.
  function take(keys: readonly StoredSigningKey[]): void {
    stored = keys.filter(({ kid }) => !withdrawn.has(kid));
    published = publish(stored);
    verifiers = verifiersOf(stored);
  }

  return {
    sign(claims) {
      // Another process has made a new key, and this one was revoked since: what it signs is good nowhere.
      if (withdrawn.has(active.kid))
        throw new Error('the signing key of this process was revoked; restart it');
      return signer(claims);
    },
    verifierOf: (encodedHeader) => verifiers.get(encodedHeader),
    jwks: () => published,
    withdraw(kid) {
      withdrawn.add(kid);
      take(stored);
    },
    reload() {
      // Also after a clock that was set back.
      if (Math.abs(now() - readAtMs) < RELOAD_INTERVAL_MS) return Promise.resolve();
      reading ??= registry
        .signingKeys()
        .then((keys) => {
          take(keys);
          readAtMs = now();
        })
        .finally(() => {
          reading = undefined;
        });
      return reading;
    },
  };
}

type JsonWebKey = Record<string, unknown>;

const activeOf = (keys: readonly StoredSigningKey[]) => keys.find(({ state }) => state === 'active');

function missing(): never {
  throw new Error('the registry has no active signing key though one was stored');
}

function publish(keys: readonly StoredSigningKey[]): JsonWebKeySet {
  return {
    keys: keys.map(
      ({ kid, algorithm, publicJwk }) =>
        ({ ...publicJwk, kid, alg: algorithm, use: 'sig' }) as PublicJsonWebKey,
    ),
  };
}

/** A new key pair; `kid` is the thumbprint of the public key (RFC 7638), so it names this key and no other. */
async function generateKey(algorithm: SigningAlgorithm) {
  const { publicKey, privateKey } = await keyPairs[algorithm]();
  const publicJwk = publicKey.export({ format: 'jwk' }) as JsonWebKey;
  const privateJwk = privateKey.export({ format: 'jwk' }) as JsonWebKey;
  return { kid: await calculateJwkThumbprint(publicJwk, 'sha256'), publicJwk, privateJwk };
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const generate = promisify(generateKeyPair);
const keyPairs: Record<SigningAlgorithm, () => Promise<KeyPair>> = {
  ES256: () => generate('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generate('ed25519'),
  RS256: () => generate('rsa', { modulusLength: RSA_MODULUS_BITS }),
};

function compactSigner(stored: StoredSigningKey, key: KeyObject) {
  const { algorithm } = stored;
  const encodedHeader = encodedHeaderOf(stored);
  const signature = signatures[algorithm];
  return (claims: AccessTokenClaims): string => {
    const input = `${encodedHeader}.${base64url(JSON.stringify(claims))}`;
    return `${input}.${signature(Buffer.from(input), key).toString('base64url')}`;
  };
}

function encodedHeaderOf({ kid, algorithm }: StoredSigningKey): string {
  const header: AccessTokenHeader = { alg: algorithm, kid, typ: 'at+jwt' };
  return base64url(JSON.stringify(header));
}

function verifiersOf(keys: readonly StoredSigningKey[]): ReadonlyMap<string, TokenVerifier> {
  return new Map(keys.map((key) => [encodedHeaderOf(key), verifierOf(key)]));
}

function verifierOf({ kid, algorithm, publicJwk }: StoredSigningKey): TokenVerifier {
  let key: KeyObject | undefined;
  return {
    kid,
    isSignature(signature, signingInput) {
      key ??= createPublicKey({ key: publicJwk, format: 'jwk' });
      return isSignature[algorithm](Buffer.from(signingInput), key, signature);
    },
  };
}

const isSignature: Record<SigningAlgorithm, (input: Buffer, key: KeyObject, signature: Buffer) => boolean> = {
  ES256: (input, key, signature) => verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature),
  EdDSA: (input, key, signature) => verify(null, input, key, signature),
  RS256: (input, key, signature) => verify('sha256', input, key, signature),
};

const signatures: Record<SigningAlgorithm, (input: Buffer, key: KeyObject) => Buffer> = {
  // Asking node:crypto for r‖s itself takes twice as long on Node 24.
  ES256: (input, key) => joinedFromDer(sign('sha256', input, key)),
  EdDSA: (input, key) => sign(null, input, key),
  RS256: (input, key) => sign('sha256', input, key),
};

/** An ECDSA signature on P-256 as JWS wants it, r‖s of 32 bytes each (RFC 7518 §3.4), from DER. */
export function joinedFromDer(der: Buffer): Buffer {
  // SEQUENCE { INTEGER r, INTEGER s }, each with one length byte: below 128 bytes for this curve.
  const joined = Buffer.alloc(64);
  const rLength = der[3] as number;
  const sLength = der[5 + rLength] as number;
  copyInteger(der.subarray(4, 4 + rLength), joined, 32);
  copyInteger(der.subarray(6 + rLength, 6 + rLength + sLength), joined, 64);
  return joined;
}

// Right-aligned: DER drops leading zeros, and adds one where the first bit is set.
function copyInteger(integer: Buffer, target: Buffer, end: number): void {
  const significant = integer.length > 32 ? integer.subarray(integer.length - 32) : integer;
  significant.copy(target, end - significant.length);
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
