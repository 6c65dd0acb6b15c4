import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Credentials, FleetgateError, parseCredentials, privateFileProblem } from '@fleetgate/shared';

/** Bytes a credentials file may have; the largest, with an RSA key, has about 3 KiB. */
const MAX_CREDENTIALS_BYTES = 65_536;

/**
 * The credentials in a file. A relative `broker.ca_file` is taken from the file's own folder.
 * @throws FleetgateError `credentials_invalid` when the file cannot be read, may be read by others than its owner,
 * or is not a credentials file; the message names the fix and never a value
 */
export async function readCredentialsFile(path: string): Promise<Credentials> {
  const credentials = parseNamed(path, await readPrivateFile(path));
  const { broker } = credentials;
  if (broker?.ca_file === undefined) return credentials;
  return { ...credentials, broker: { ...broker, ca_file: resolve(dirname(path), broker.ca_file) } };
}

async function readPrivateFile(path: string): Promise<string> {
  try {
    // One handle for the check and the reading: the file cannot be exchanged in between.
    await using file = await open(path, 'r');
    const stats = await file.stat();
    const problem = stats.isFile() ? privateFileProblem(path, stats.mode) : `${path} is not a file`;
    if (problem !== undefined) throw invalid(problem);
    if (stats.size > MAX_CREDENTIALS_BYTES)
      throw invalid(`${path} has more than ${MAX_CREDENTIALS_BYTES} bytes`);
    return await file.readFile('utf8');
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      throw invalid(`${path} does not exist; 'fleetgate client create --out' writes such a file`);
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
