import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';
import { listClients } from '../commands/client.ts';
import { UsageError } from '../exit.ts';
import { jsonRows } from '../fleet/device-rows.ts';
import type { RegisteredClient } from './registered-token.ts';

/** The clients that a command looks at, read anew at each call. */
export type ClientSource = () => AsyncIterable<RegisteredClient>;

/** Those registered, or those of a file that `fleet export` wrote. */
export function registeredClients(
  file: string | undefined,
  connect: () => Promise<AdminClient>,
  selector: string | undefined,
): ClientSource {
  if (file === undefined) {
    return async function* registered() {
      yield* listClients(await connect(), selector === undefined ? {} : { selector });
    };
  }
  if (selector !== undefined)
    throw new UsageError('--selector asks the registry; select when you export instead');
  return () => exportedClients(file);
}

/** Of these ids those that are registered. */
export async function* clientsById(
  admin: AdminClient,
  ids: Iterable<string>,
): AsyncGenerator<RegisteredClient> {
  for (const id of ids) {
    const client = await admin.getClient(id).catch((error: unknown) => {
      if (error instanceof FleetgateError && error.code === 'client_unknown') return undefined;
      throw error;
    });
    if (client !== undefined) yield client;
  }
}

async function* exportedClients(file: string): AsyncGenerator<RegisteredClient> {
  for await (const { line, row } of jsonRows(file)) {
    const client = row as unknown as RegisteredClient;
    if (!isClient(client)) {
      throw new UsageError(`${file}:${line}: this is no client; 'fleetgate fleet export' writes such a file`);
    }
    yield client;
  }
}

function isClient({ client_id, scope, group, metadata }: RegisteredClient): boolean {
  return (
    isIdentifier(client_id) &&
    typeof scope === 'string' &&
    (group == null || typeof group === 'string') &&
    (metadata === undefined || (typeof metadata === 'object' && metadata !== null))
  );
}
