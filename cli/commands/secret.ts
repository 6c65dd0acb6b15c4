import { readFileSync } from 'node:fs';
import { type Credentials, FleetgateError, formatCredentials, parseCredentials } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';
import { formatCsv } from '../csv.ts';
import { UsageError } from '../exit.ts';
import { formatJson, formatRecord, formatTable, type Row, type RowFormat, toRow } from '../output.ts';
import { openReplacedFile, type ReplacedFile } from '../replaced-file.ts';
import type { RotatedSecretView, Rotation, SecretQuery, SecretView } from '../secret-client.ts';
import { credentialsOf } from './client.ts';
import { howToAsk, secretAuth } from './credential.ts';

/** Secrets one request for the list may bring; the API's own limit is 1,000. */
const PAGE_SIZE = 500;

export interface RotateOptions {
  clientId: string;
  rotation: Rotation;
  /** Credentials file to rewrite or to make; without it the secret is printed. */
  out?: string;
  /** Broker for a file that is new. */
  brokerUrl?: string;
}

/**
 * Makes a new secret. The file for it is opened before, so that a secret which cannot be kept is never made, and
 * replaced as a whole. Answers what was made, with the secret only where no file holds it.
 */
export async function rotateSecret(admin: AdminClient, options: RotateOptions): Promise<RotatedSecretView> {
  const { clientId, rotation, out } = options;
  if (out === undefined) return admin.rotateSecret(clientId, rotation);
  const credentials = readExisting(out, clientId) ?? (await newCredentials(admin, options));
  const file = openOut(out);
  try {
    const { client_secret, oscore, ...rotated } = await admin.rotateSecret(clientId, rotation);
    const shown = { ...(client_secret && { client_secret }), ...(oscore && { oscore }) };
    const { token_endpoint: _before, ...kept } = credentials;
    const { token_endpoint = oscore ? undefined : _before, auth } = await howToAsk(shown, admin);
    keep(file, { ...kept, ...(token_endpoint && { token_endpoint }), auth }, out, rotated);
    return rotated;
  } finally {
    file.discard();
  }
}

/** Every secret that the list has, page by page. */
export async function* listSecrets(admin: AdminClient, query: SecretQuery): AsyncGenerator<SecretView> {
  let cursor: string | undefined;
  do {
    const page = await admin.listSecrets({
      ...query,
      limit: PAGE_SIZE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield* page.secrets;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** What was made as `--format` asks. */
export function formatRotated(rotated: RotatedSecretView, format: RowFormat): string {
  if (format === 'csv') return formatCsv(Object.keys(rotated), [toRow(rotated)]);
  return format === 'json' ? formatJson(rotated) : formatRecord(toRow(rotated));
}

/** The secrets as `--format` asks; with the client where they are of many. */
export function formatSecrets(secrets: readonly SecretView[], format: RowFormat, ofMany: boolean): string {
  if (format === 'json') return formatJson(secrets);
  const columns = ['secret_id', 'state', 'created_at', 'expires_at', 'first_used_at', 'last_used_on'];
  const rows = secrets as readonly unknown[] as readonly Row[];
  const print = format === 'csv' ? formatCsv : formatTable;
  return print(ofMany ? ['client_id', ...columns] : columns, rows);
}

/** What becomes of the old secret, in words; `undefined` when there is none that goes on. */
export function overlapNote(rotated: RotatedSecretView): string | undefined {
  if (rotated.old_secret_id === undefined) return undefined;
  const { old_secret_expires_at: end, old_secret_until_new_is_used: isWaiting } = rotated;
  const ends = [
    ...(typeof end === 'string' ? [`until ${end}`] : []),
    ...(isWaiting === true ? ['until a minute after the new one is first used'] : []),
  ];
  return `the old secret goes on ${ends.length === 0 ? 'without an end' : ends.join(', or ')}`;
}

/** The credentials in the file, if there is one; a UsageError unless they are this client's and hold a secret. */
function readExisting(out: string, clientId: string): Credentials | undefined {
  let text: string;
  try {
    text = readFileSync(out, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new UsageError(`cannot read ${out} (${code}); name another file with --out`);
  }
  const credentials = parseCredentials(text);
  if (credentials.client_id !== clientId) {
    throw new UsageError(
      `${out} holds the credentials of '${credentials.client_id}'; name another file with --out`,
    );
  }
  if (!['client_secret_basic', 'oscore'].includes(credentials.auth.method)) {
    throw new UsageError(`${out} holds no secret (auth.method is ${credentials.auth.method})`);
  }
  return credentials;
}

async function newCredentials(
  admin: AdminClient,
  { clientId, brokerUrl }: RotateOptions,
): Promise<Credentials> {
  const client = await admin.getClient(clientId);
  return credentialsOf(client, { auth: secretAuth('') }, await admin.issuerUrl(), brokerUrl);
}

function openOut(out: string): ReplacedFile {
  try {
    return openReplacedFile(out);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot write ${out} (${code}); name a file that can be written with --out`);
  }
}

function keep(file: ReplacedFile, credentials: Credentials, out: string, rotated: RotatedSecretView): void {
  try {
    file.replace(formatCredentials(credentials));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FleetgateError(
      'server_error',
      `the new secret could not be written to ${out} (${code}), which is as it was, and nobody has it now; ` +
        `end it with 'fleetgate client end-secret ${rotated.client_id} ${rotated.secret_id}', then rotate again`,
    );
  }
}
