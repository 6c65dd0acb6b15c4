import type { Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Credentials, FleetgateError, parseCredentials, privateFileProblem } from '@fleetgate/shared';

/** Bytes a file may have; the largest credentials, with an RSA key, have about 3 KiB, a chain of certificates twice that. */
const MAX_FILE_BYTES = 65_536;

/**
 * The credentials in a file. The files it names are taken from its own folder where their paths are relative.
 * @throws FleetgateError `credentials_invalid` when the file cannot be read, may be read by others than its owner,
 * or is not a credentials file; the message names the fix and never a value
 */
export async function readCredentialsFile(path: string): Promise<Credentials> {
  const hint = "'fleetgate client create --out' writes such a file";
  const credentials = parseNamed(path, (await readPrivateFile(path, hint)).toString('utf8'));
  const { auth, broker } = credentials;
  const beside = (file: string) => resolve(dirname(path), file);
  return {
    ...credentials,
    ...(auth.method === 'tls_client_auth' && {
      auth: { ...auth, cert_file: beside(auth.cert_file), key_file: beside(auth.key_file) },
    }),
    ...(auth.method === 'oscore' && {
      auth: { ...auth, sequence_file: beside(auth.sequence_file ?? `${path}.sequence`) },
    }),
    ...(broker?.ca_file !== undefined && { broker: { ...broker, ca_file: beside(broker.ca_file) } }),
  };
}

/**
 * A file that nobody but its owner may read.
 * @param hint said of one that does not exist
 * @throws FleetgateError `credentials_invalid`
 */
export function readPrivateFile(path: string, hint?: string): Promise<Buffer> {
  return readChecked(path, (of, access) => privateFileProblem(of, access), hint);
}

/** @throws FleetgateError `credentials_invalid` */
export function readBoundedFile(path: string): Promise<Buffer> {
  return readChecked(path, () => undefined);
}

async function readChecked(
  path: string,
  accessProblem: (path: string, access: Stats) => string | undefined,
  hint?: string,
): Promise<Buffer> {
  try {
    // One handle for the check and the reading: the file cannot be exchanged in between.
    await using file = await open(path, 'r');
    const stats = await file.stat();
    const problem = stats.isFile() ? accessProblem(path, stats) : `${path} is not a file`;
    if (problem !== undefined) throw invalid(problem);
    if (stats.size > MAX_FILE_BYTES) throw invalid(`${path} has more than ${MAX_FILE_BYTES} bytes`);
    return await file.readFile();
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw invalid([`${path} does not exist`, ...(hint ? [hint] : [])].join('; '));
    throw invalid(`${path} cannot be read (${code ?? 'unknown reason'})`);
  }
}

function parseNamed(path: string, text: string): Credentials {
  try {
    return parseCredentials(text);
  } catch (error) {
    if (error instanceof FleetgateError) throw new FleetgateError(error.code, `${path}: ${error.message}`);
    throw error;
  }
}

function invalid(message: string): FleetgateError {
  return new FleetgateError('credentials_invalid', message);
}
