import type { Credentials, CredentialsAuth } from '@fleetgate/shared';
import { secretAuth } from '../commands/credential.ts';
import { csvLine } from '../csv.ts';
import type { DeviceRow, RowResultView } from '../fleet-client.ts';
import type { deriveKeyPair } from '../key-pair.ts';
import { failureColumns, type LinedRow, type RowSource } from './device-rows.ts';
import type { JobState } from './job-file.ts';

/** A row of which no device was made, or whose device cannot be shown its credential. */
export interface FailedRow extends LinedRow {
  readonly why: string;
}

/** The key pair of a device that brings none, by the number of its row. */
export type PairOf = (row: number) => ReturnType<typeof deriveKeyPair>;

/** A device that brings no key gets one from us; its private half never leaves this machine but in the output. */
export function withKey(row: DeviceRow, pairOf: PairOf, number: number): DeviceRow {
  return bringsKey(row) ? row : { ...row, public_jwk: pairOf(number).publicJwk };
}

const bringsKey = (row: DeviceRow) =>
  ['jwks', 'public_jwk'].some((name) => row[name] !== undefined && row[name] !== '' && row[name] !== null);

/** How the device of a row authenticates; unset where its credential cannot be shown any more. */
export function authOf(
  { row: number, auth_method, client_secret, oscore, client_id = '' }: RowResultView,
  row: DeviceRow,
  pairOf: PairOf,
): CredentialsAuth | 'own' | undefined {
  switch (auth_method) {
    case 'oscore':
      return oscore && { method: 'oscore', ...oscore };
    case 'private_key_jwt':
      return bringsKey(row) ? 'own' : { method: 'private_key_jwt', private_jwk: pairOf(number).privateJwk };
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return { method: 'tls_client_auth', cert_file: `${client_id}.crt`, key_file: `${client_id}.key` };
    default:
      return client_secret === undefined ? undefined : secretAuth(client_secret);
  }
}

/** The credentials file of a device that was made. */
export function credentialsFor(
  { client_id = '', audience }: RowResultView,
  auth: CredentialsAuth | 'own',
  known: { readonly issuer: string; readonly coapEndpoint: string | undefined; readonly state: JobState },
): Credentials {
  const { issuer, coapEndpoint, state } = known;
  return {
    version: 1,
    client_id,
    issuer,
    ...(coapEndpoint !== undefined && { token_endpoint: coapEndpoint }),
    // Its key is where it was made; the device puts it in.
    auth: auth === 'own' ? ({ method: 'private_key_jwt' } as CredentialsAuth) : auth,
    ...(audience?.[0] !== undefined && { audience: audience[0] }),
    ...(state.broker_url !== undefined && { broker: { url: state.broker_url } }),
  };
}

/** Why there is no device of a row, or none that can be shown its credential. */
export function whyOf({ error_description, error, notice }: RowResultView): string {
  return notice ?? `${error}: ${error_description}`;
}

/** Failed rows as they came, with why: when that is mended the file can be fed in again. */
export function failureLines(failed: readonly FailedRow[], source: RowSource, isFirst: boolean): string {
  const [lineColumn, whyColumn] = failureColumns;
  const noted = failed.map(({ line, row, why }) => ({ ...row, [lineColumn]: line, [whyColumn]: why }));
  if (source.format !== 'csv') return noted.map((row) => `${JSON.stringify(row)}\n`).join('');
  const [first] = noted;
  if (first === undefined) return '';
  const columns = Object.keys(first);
  const lines = noted.map((row) => csvLine(columns.map((column) => cellOf(row[column as keyof typeof row]))));
  return (isFirst ? csvLine(columns) : '') + lines.join('');
}

function cellOf(value: unknown): string | number {
  return typeof value === 'number' ? value : String(value ?? '');
}
