import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { createSignatures, type SigningAlgorithm, signatureOf, signatures } from '@fleetgate/shared';
import { compactVerify, importJWK, type JWK, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';

const pairs: Record<SigningAlgorithm, { publicKey: KeyObject; privateKey: KeyObject }> = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const algorithms = Object.keys(pairs) as SigningAlgorithm[];
const headerOf = (alg: string) => Buffer.from(JSON.stringify({ alg })).toString('base64url');
const inputOf = (alg: string, n: number) =>
  `${headerOf(alg)}.${Buffer.from(`{"n":${n}}`).toString('base64url')}`;
const many = (count: number) => Array.from({ length: count }, (_, n) => n);

describe.each(algorithms)('%s', (alg) => {
  const { publicKey, privateKey } = pairs[alg];

  test.each([1, 2, 50])('%i signatures at once are such as jose takes', async (count) => {
    const key = await importJWK(publicKey.export({ format: 'jwk' }) as JWK, alg);
    const made = await Promise.all(many(count).map((n) => signatures.sign(alg, privateKey, inputOf(alg, n))));
    for (const [n, signature] of made.entries()) {
      await compactVerify(`${inputOf(alg, n)}.${signature}`, key);
    }
  });

  test.each([1, 50])('of %i checked at once, each has its own answer', async (count) => {
    const made = many(count).map((n) => signatureOf(alg, privateKey, inputOf(alg, n)));
    const asked = made.map((signature, n) =>
      signatures.verify(alg, publicKey, inputOf(alg, n % 3 === 0 ? n : n + 1), signature),
    );
    expect(await Promise.all(asked)).toEqual(many(count).map((n) => n % 3 === 0));
  });

  test.each([
    ['nothing', ''],
    ['half of one', signatureOf(alg, privateKey, inputOf(alg, 0)).slice(0, 40)],
    ['zeros', Buffer.alloc(64).toString('base64url')],
    ['too many bytes', Buffer.alloc(4096, 1).toString('base64url')],
    ['no base64url', '%%%'],
  ])('%s is no signature', async (_what, signature) => {
    expect(await signatures.verify(alg, publicKey, inputOf(alg, 0), signature)).toBe(false);
  });
});

test('PS256 is checked as jose signs it', async () => {
  const { publicKey, privateKey } = pairs.RS256;
  const jwt = await new SignJWT({}).setProtectedHeader({ alg: 'PS256' }).sign(privateKey);
  const [input, signature] = [jwt.slice(0, jwt.lastIndexOf('.')), jwt.slice(jwt.lastIndexOf('.') + 1)];
  expect(await signatures.verify('PS256', publicKey, input, signature)).toBe(true);
  expect(await signatures.verify('RS256', publicKey, input, signature)).toBe(false);
});

test('a key that cannot sign fails its own request alone', async () => {
  const { publicKey, privateKey } = pairs.EdDSA;
  const results = await Promise.allSettled(
    many(20).map((n) => signatures.sign('EdDSA', n === 7 ? publicKey : privateKey, inputOf('EdDSA', n))),
  );
  expect(results.map(({ status }) => status)).toEqual(
    many(20).map((n) => (n === 7 ? 'rejected' : 'fulfilled')),
  );
});

test('a thread of somebody else that uses the packages gets its own messages, and ours answers none of them', async () => {
  const source = new URL('../../shared/index.ts', import.meta.url);
  const code = `import(${JSON.stringify(source.href)}).then(() => {
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', (text) => parentPort.postMessage('own ' + text));
  });`;
  const worker = new Worker(code, { eval: true });
  try {
    const answered = new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    worker.postMessage('message');
    expect(await answered).toBe('own message');
  } finally {
    await worker.terminate();
  }
});

describe('the thread', () => {
  const { publicKey, privateKey } = pairs.EdDSA;
  const threadOf = (code: string) =>
    new URL(
      `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads';\n${code}`)}`,
    );
  const signMany = (by: ReturnType<typeof createSignatures>, count: number) =>
    Promise.all(many(count).map((n) => by.sign('EdDSA', privateKey, inputOf('EdDSA', n))));
  const expectGood = async (made: readonly string[]) => {
    const checks = made.map((signature, n) =>
      signatures.verify('EdDSA', publicKey, inputOf('EdDSA', n), signature),
    );
    expect(await Promise.all(checks)).toEqual(made.map(() => true));
  };

  test('gets what comes at once in parts, and what it answers goes to who asked', async () => {
    const by = createSignatures(
      threadOf(`parentPort.on('message', (jobs) =>
        parentPort.postMessage(jobs.map(({ input }) => ({ value: jobs.length + ' ' + input }))));`),
    );
    // Until it has started they are made here.
    await expect
      .poll(() => signMany(by, 20), { timeout: 5000 })
      .toEqual(many(20).map((n) => `${n < 16 ? 8 : 4} ${inputOf('EdDSA', n)}`));
    // One or two are not worth waking it.
    await expectGood(await signMany(by, 2));
  });

  test.each<[string, URL]>([
    ['that ends when it gets something', threadOf(`parentPort.on('message', () => process.exit(1));`)],
    [
      'that fails when it gets something',
      threadOf(`parentPort.on('message', () => { throw new Error(); });`),
    ],
    ['that is not there', new URL('file:///nonexistent/thread.js')],
  ])('one %s loses nothing: it is done here, then and later', async (_what, url) => {
    const by = createSignatures(url);
    for (let i = 0; i < 20; i += 1) {
      await expectGood(await signMany(by, 30));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});
