import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadTlsFiles, type TlsFiles } from '../../../broker/listener/tls-files.ts';
import {
  type Authority,
  type CertificateFolder,
  certificateFolder,
  createAuthority,
  type Pair,
} from '../../support/certificates.ts';

let authority: Authority;
let server: Pair;
let other: Pair;
beforeAll(async () => {
  authority = await createAuthority();
  [server, other] = await Promise.all([authority.issue('broker'), authority.issue('other')]);
});

interface Loaded {
  readonly lines: Record<string, unknown>[];
  readonly cert: string;
  readonly ca: readonly string[] | undefined;
}

async function load(folder: CertificateFolder, more: Partial<TlsFiles> = {}): Promise<Loaded> {
  const lines: Record<string, unknown>[] = [];
  const note = (line: unknown) => void lines.push(line as Record<string, unknown>);
  const files = {
    certFile: join(folder.path, 'server.pem'),
    keyFile: join(folder.path, 'server.key'),
    ...more,
  };
  const { cert, ca } = await loadTlsFiles(files, { debug: note, info: note, warn: note, error: note });
  return { lines, cert, ca };
}

function folder(): CertificateFolder {
  const made = certificateFolder();
  onTestFinished(made.remove);
  made.write('server.pem', server.cert);
  made.write('server.key', server.key);
  return made;
}

test('a certificate and its key are read, and nothing is said', async () => {
  const loaded = await load(folder());
  expect(loaded).toEqual({ lines: [], cert: server.cert, ca: undefined });
});

test('of a file of authorities all are taken', async () => {
  const second = await createAuthority('another');
  const here = folder();
  const clientCaFile = here.write('ca.pem', `# two\n${authority.cert}\n${second.cert}`);
  const { ca } = await load(here, { clientCaFile });
  expect(ca?.map((one) => new X509Certificate(one).subject)).toEqual([
    'CN=Fleetgate test authority',
    'CN=another',
  ]);
});

describe('what is wrong names the file', () => {
  const damaged = () => server.cert.replace(/[A-Za-z]{20}/, 'A'.repeat(20));

  test.each<[string, (here: CertificateFolder) => Partial<TlsFiles> | string, string]>([
    ['a missing certificate', (here) => ({ certFile: join(here.path, 'none.pem') }), 'none.pem'],
    ['a missing key', (here) => ({ keyFile: join(here.path, 'none.key') }), 'none.key'],
    ['a missing file of authorities', (here) => ({ clientCaFile: join(here.path, 'none.pem') }), 'none.pem'],
    ['a certificate that is no PEM', (here) => here.write('server.pem', 'hello'), 'server.pem'],
    ['an empty certificate file', (here) => here.write('server.pem', ''), 'server.pem'],
    ['a damaged certificate', (here) => here.write('server.pem', damaged()), 'server.pem'],
    [
      'a damaged certificate in the chain',
      (here) => here.write('server.pem', server.cert + damaged()),
      'certificate 2',
    ],
    ['a key that is no PEM', (here) => here.write('server.key', 'hello'), 'server.key'],
    ['a certificate in place of the key', (here) => here.write('server.key', server.cert), 'server.key'],
    ['a key in place of the certificate', (here) => here.write('server.pem', server.key), 'mixed up'],
    ['a key of another certificate', (here) => here.write('server.key', other.key), 'server.key'],
    [
      'a chain in the wrong order',
      (here) => here.write('server.pem', authority.cert + server.cert),
      'number 2',
    ],
    ['a key its group may read', (here) => here.write('server.key', server.key, 0o640), 'chmod 600'],
    ['a key others may read', (here) => here.write('server.key', server.key, 0o604), 'chmod 600'],
    ['an encrypted key', (here) => here.write('server.key', encryptedKey()), 'encrypted'],
    [
      'an authority file without a certificate',
      (here) => ({ clientCaFile: here.write('ca.pem', 'x') }),
      'ca.pem',
    ],
    ['a file without an end', () => ({ certFile: '/dev/zero' }), '/dev/zero'],
    [
      'a large file',
      (here) => here.write('server.pem', `${server.cert}${' '.repeat(1_048_576)}`),
      'server.pem',
    ],
  ])('%s', async (_what, spoil, words) => {
    const here = folder();
    const more = spoil(here);
    await expect(load(here, typeof more === 'string' ? {} : more)).rejects.toMatchObject({
      code: 'tls_file_invalid',
      message: expect.stringContaining(words),
    });
  });

  test('a directory', async () => {
    const here = folder();
    const certFile = join(here.path, 'directory');
    mkdirSync(certFile);
    await expect(load(here, { certFile })).rejects.toMatchObject({ code: 'tls_file_invalid' });
  });

  test('a key too short for OpenSSL', async () => {
    const here = folder();
    const weak = await weakPair();
    here.write('server.pem', weak.cert);
    here.write('server.key', weak.key);
    await expect(load(here)).rejects.toMatchObject({ code: 'tls_file_invalid' });
  });

  test('and never a part of the key', async () => {
    const here = folder();
    here.write('server.key', server.key.replaceAll('\n', '!\n'));
    const failure = await load(here).catch((error: Error) => error);
    const secret = server.key.split('\n')[1] as string;
    expect(failure).toMatchObject({ code: 'tls_file_invalid' });
    expect(String((failure as Error).message)).not.toContain(secret.slice(0, 16));
  });
});

describe('a certificate out of its time is used and logged', () => {
  const day = 86_400_000;

  test.each([
    ['certificate_expired', { from: new Date(Date.now() - 2 * day), to: new Date(Date.now() - day) }],
    ['certificate_not_yet_valid', { from: new Date(Date.now() + day), to: new Date(Date.now() + 2 * day) }],
  ])('%s', async (event, validity) => {
    const here = folder();
    const { cert, key } = await authority.issue('broker', validity);
    const file = here.write('server.pem', cert);
    here.write('server.key', key);
    const { lines } = await load(here);
    expect(lines).toEqual([expect.objectContaining({ event, file, subject: 'CN=broker' })]);
  });
});

function encryptedKey(): string {
  return generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
  }).privateKey;
}

async function weakPair(): Promise<Pair> {
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: 'weak' }], { keySize: 512, algorithm: 'sha256' });
  return { cert: made.cert, key: made.private };
}
