import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compactDecrypt, decodeProtectedHeader } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { encryptTo } from '../../../cli/fleet/encryption.ts';

function fileOf(content: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-jwe-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'key');
  writeFileSync(file, content);
  return file;
}

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const x25519 = generateKeyPairSync('x25519');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

test.each([
  [
    'EC as JWK',
    ec,
    JSON.stringify({ ...ec.publicKey.export({ format: 'jwk' }), kid: 'factory' }),
    'ECDH-ES+A256KW',
  ],
  ['EC as PEM', ec, ec.publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'ECDH-ES+A256KW'],
  ['X25519', x25519, JSON.stringify(x25519.publicKey.export({ format: 'jwk' })), 'ECDH-ES+A256KW'],
  ['RSA', rsa, rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'RSA-OAEP-256'],
])('what is encrypted to %s is read by the private key alone', async (_name, { privateKey }, text, alg) => {
  const jwe = await encryptTo(fileOf(text))('a secret');
  expect(jwe).not.toContain('secret');
  expect(decodeProtectedHeader(jwe)).toMatchObject({ alg, enc: 'A256GCM' });
  const { plaintext } = await compactDecrypt(jwe, privateKey);
  expect(new TextDecoder().decode(plaintext)).toBe('a secret');
  await expect(
    compactDecrypt(jwe, generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
  ).rejects.toThrow();
});

test.each([
  [JSON.stringify(ec.privateKey.export({ format: 'jwk' })), /private key/],
  [ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /private key/],
  ['{"kty":"oct","k":"AAAA"}', /no public key|private key/],
  ['no key', /neither JWK nor PEM/],
  [
    JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })),
    /nothing is encrypted to/,
  ],
])('a file with %s is refused', (text, message) => {
  expect(() => encryptTo(fileOf(text))).toThrow(message);
});
