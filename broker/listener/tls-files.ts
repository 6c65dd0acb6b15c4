import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { FleetgateError, privateFileProblem } from '@fleetgate/shared';
import type { Logger } from '../options.ts';

/** Files of a listener that speaks TLS, all PEM. */
export interface TlsFiles {
  /** The server's certificate first, then what leads from it to an authority the clients know. */
  readonly certFile: string;
  /** Not encrypted, and for its owner alone: mode 0600. */
  readonly keyFile: string;
  /** Authorities of client certificates. With it clients are asked for one, and a wrong one is refused. */
  readonly clientCaFile?: string | undefined;
  /** Whether a client without a certificate is refused. Default false; needs `clientCaFile`. */
  readonly requireClientCert?: boolean | undefined;
}

/** The contents of {@link TlsFiles}, which fit each other. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** One certificate each. */
  readonly ca: readonly string[] | undefined;
}

/** A chain has a few kilobytes, all public authorities together about 200. */
const MAX_FILE_BYTES = 1_048_576;

/**
 * Reads and checks the files. A certificate that has expired is used all the same and logged: clients that notice
 * refuse it themselves, those that cannot tell the time go on.
 * @throws FleetgateError `tls_file_invalid`; the message names the file and the mend
 */
export async function loadTlsFiles(files: TlsFiles, log: Logger): Promise<TlsMaterial> {
  const { certFile, keyFile, clientCaFile } = files;
  const cert = await readPem(certFile);
  const chain = certificatesOf(cert, certFile);
  const key = await readPem(keyFile, checkPrivate);
  checkFit(privateKeyOf(key, keyFile), chain, files);
  const ca = clientCaFile === undefined ? undefined : await readPem(clientCaFile);
  const authorities =
    ca === undefined || clientCaFile === undefined ? undefined : certificatesOf(ca, clientCaFile);
  const material: TlsMaterial = { cert, key, ca: authorities?.map((one) => one.toString()) };
  checkAccepted(material, files);
  warnOfTime(chain.slice(0, 1), certFile, log);
  if (authorities !== undefined) warnOfTime(authorities, clientCaFile as string, log);
  return material;
}

async function readPem(
  file: string,
  check?: (handle: FileHandle, file: string) => Promise<void>,
): Promise<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const status = await handle.stat();
    if (!status.isFile()) throw problem(`${file} is not a file; name a PEM file`);
    if (status.size > MAX_FILE_BYTES) throw problem(`${file} is over ${MAX_FILE_BYTES} bytes`);
    await check?.(handle, file);
    return await handle.readFile('utf8');
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const mend = code === 'ENOENT' ? 'name a file that exists' : 'let the user of this process read it';
    throw problem(`cannot read ${file} (${code ?? message}); ${mend}`);
  } finally {
    await handle?.close();
  }
}

async function checkPrivate(handle: FileHandle, file: string): Promise<void> {
  const words = privateFileProblem(file, await handle.stat());
  if (words !== undefined) throw problem(words);
}

const certificatePattern = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function certificatesOf(pem: string, file: string): X509Certificate[] {
  const blocks = pem.match(certificatePattern) ?? [];
  if (blocks.length === 0) {
    const isKey = pem.includes('PRIVATE KEY-----');
    throw problem(
      isKey
        ? `${file} holds a private key and no certificate; are certificate and key mixed up?`
        : `${file} holds no PEM certificate; it must begin with -----BEGIN CERTIFICATE-----`,
    );
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw problem(`certificate ${index + 1} in ${file} is damaged; write the file anew`);
    }
  });
}

function privateKeyOf(pem: string, file: string): KeyObject {
  if (/BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    throw problem(`the key in ${file} is encrypted; store it decrypted (openssl pkey -in … -out …)`);
  }
  try {
    return createPrivateKey(pem);
  } catch {
    throw problem(`${file} holds no PEM private key; it must begin with -----BEGIN PRIVATE KEY-----`);
  }
}

function checkFit(key: KeyObject, chain: readonly X509Certificate[], { certFile, keyFile }: TlsFiles): void {
  const place = chain.findIndex((one) => one.checkPrivateKey(key));
  if (place === 0) return;
  throw problem(
    place === -1
      ? `the key in ${keyFile} is not that of the certificate in ${certFile}; name the two of one pair`
      : `the server's own certificate must be the first in ${certFile}; it is number ${place + 1}`,
  );
}

/** What OpenSSL does not take, as a key too short for its security level. */
function checkAccepted(material: TlsMaterial, { certFile, keyFile }: TlsFiles): void {
  try {
    createSecureContext({ cert: material.cert, key: material.key });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw problem(`OpenSSL does not take ${certFile} with ${keyFile} (${code}); issue a new pair`);
  }
}

function warnOfTime(certificates: readonly X509Certificate[], file: string, log: Logger): void {
  const nowMs = Date.now();
  for (const { subject, validFromDate, validToDate } of certificates) {
    const isExpired = validToDate.getTime() < nowMs;
    if (!isExpired && validFromDate.getTime() <= nowMs) continue;
    log.warn(
      {
        event: isExpired ? 'certificate_expired' : 'certificate_not_yet_valid',
        file,
        subject,
        ...(isExpired
          ? { expired_at: validToDate.toISOString() }
          : { valid_from: validFromDate.toISOString() }),
      },
      isExpired ? 'a certificate has expired' : 'a certificate is not valid yet',
    );
  }
}

function problem(words: string): FleetgateError {
  return new FleetgateError('tls_file_invalid', words);
}
