import { FleetgateError } from '@fleetgate/shared';
import { asRegistryError } from './connection.ts';

/** Why a database could not be opened, as `registry_unavailable` with what an operator mends; our own errors as they are. */
export function asOpenError(place: string, error: unknown): FleetgateError {
  if (error instanceof FleetgateError) return error;
  return new FleetgateError('registry_unavailable', `cannot open ${place} (${reasonOf(error)})`, {
    cause: asRegistryError(error),
  });
}

/** Words for what an operator mends; of the rest the code, since a message may quote anything. */
function reasonOf(error: unknown): string {
  const { code, message, path } = error as NodeJS.ErrnoException;
  if (/password must be a string/.test(message)) return NO_PASSWORD;
  if (code === 'ENOENT' && path !== undefined) return `${path} of its URL is missing`;
  const words = code === undefined ? undefined : wordsOfCodes.get(code);
  return words === undefined ? (code ?? message) : `${words}; ${code}`;
}

const NO_PASSWORD =
  'it wants a password: name a file that holds it by PGPASSWORD_FILE, or a .pgpass of mode 0600 by PGPASSFILE';

const wordsOfCodes: ReadonlyMap<string, string> = new Map([
  ['28P01', 'the password in PGPASSWORD_FILE, PGPASSFILE or PGPASSWORD is wrong, or the user is unknown'],
  ['28000', 'pg_hba.conf of the server does not let this user in from here'],
  ['3D000', 'there is no such database'],
  ['42501', 'the user may not make the schema: GRANT CREATE ON DATABASE'],
  ['ECONNREFUSED', 'nothing listens there'],
]);
