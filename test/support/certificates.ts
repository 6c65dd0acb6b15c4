import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { scratchDirectory } from './scratch.ts';

export interface Pair {
  /** PEM */
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Pair {
  issue(commonName: string, options?: CertificateOptions): Promise<Pair>;
}

export interface Validity {
  readonly from?: Date;
  readonly to?: Date;
}

/** Mail, DNS, URI and IP, by their numbers in RFC 5280 §4.2.1.6. */
export type AlternativeName =
  | { readonly type: 1 | 2 | 6; readonly value: string }
  | { readonly type: 7; readonly ip: string };

export interface CertificateOptions extends Validity {
  /** Default: localhost and 127.0.0.1. */
  readonly altNames?: readonly AlternativeName[];
}

/** A certificate of a machine that no authority stands for. */
export function selfSigned(commonName: string, validity: Validity = {}): Promise<Pair> {
  return pair(commonName, validity, [{ name: 'keyUsage', digitalSignature: true }]);
}

/** Valid from an hour ago, for a day. */
export async function createAuthority(commonName = 'Fleetgate test authority'): Promise<Authority> {
  const own = await pair(commonName, {}, [
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
  ]);
  return {
    ...own,
    issue: (name, { altNames = localNames, ...validity } = {}) =>
      pair(
        name,
        validity,
        [
          { name: 'basicConstraints', cA: false },
          { name: 'keyUsage', digitalSignature: true },
          { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
          // Copied, since the library takes no readonly list. An empty one would be no extension.
          ...(altNames.length === 0 ? [] : [{ name: 'subjectAltName' as const, altNames: [...altNames] }]),
        ],
        own,
      ),
  };
}

const localNames: readonly AlternativeName[] = [
  { type: 2, value: 'localhost' },
  { type: 7, ip: '127.0.0.1' },
];

type Options = NonNullable<Parameters<typeof generate>[1]>;

const HOUR_MS = 3_600_000;

async function pair(
  commonName: string,
  { from = new Date(Date.now() - HOUR_MS), to = new Date(Date.now() + 24 * HOUR_MS) }: Validity,
  extensions: NonNullable<Options['extensions']>,
  ca?: Pair,
): Promise<Pair> {
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: from,
    notAfterDate: to,
    extensions,
    ...(ca === undefined ? {} : { ca }),
  });
  return { cert: made.cert, key: made.private };
}

export interface CertificateFolder {
  readonly path: string;
  /** Writes a file, 0600 unless said otherwise, and gives its path. */
  write(name: string, text: string, mode?: number): string;
  remove(): void;
}

export function certificateFolder(path = mkdtempSync(join(tmpdir(), 'fleetgate-tls-'))): CertificateFolder {
  return {
    path,
    write(name, text, mode = 0o600) {
      const file = join(path, name);
      rmSync(file, { force: true });
      writeFileSync(file, text, { mode });
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

export interface TestTls {
  readonly authority: Authority;
  readonly folder: CertificateFolder;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

let shared: Promise<TestTls> | undefined;

/** A server certificate for 127.0.0.1, made once in a process; its files are gone when the run ends. */
export function testTls(): Promise<TestTls> {
  shared ??= (async () => {
    const authority = await createAuthority();
    const server = await authority.issue('broker');
    const folder = certificateFolder(scratchDirectory('tls'));
    return {
      authority,
      folder,
      caFile: folder.write('ca.pem', authority.cert),
      certFile: folder.write('server.pem', server.cert),
      keyFile: folder.write('server.key', server.key),
    };
  })();
  return shared;
}
