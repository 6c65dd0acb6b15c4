import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { AdminClient } from '../admin-client.ts';
import { listClients } from '../commands/client.ts';
import { UsageError } from '../exit.ts';
import type { RegisteredClient } from './principals.ts';

/** The clients that a command looks at: those registered, or those of a file that `fleet export` wrote. */
export function registeredClients(
  file: string | undefined,
  connect: () => AdminClient,
  selector: string | undefined,
): AsyncIterable<RegisteredClient> {
  if (file === undefined) return listClients(connect(), selector === undefined ? {} : { selector });
  if (selector !== undefined)
    throw new UsageError('--selector asks the registry; select when you export instead');
  return exportedClients(file);
}

async function* exportedClients(file: string): AsyncGenerator<RegisteredClient> {
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  try {
    for await (const line of lines) {
      number += 1;
      if (line.trim() !== '') yield readClient(file, number, line);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new UsageError(`cannot read ${file} (${code})`);
  }
}

function readClient(file: string, number: number, line: string): RegisteredClient {
  try {
    const client = JSON.parse(line) as RegisteredClient;
    if (typeof client.client_id === 'string' && typeof client.scope === 'string') return client;
  } catch {
    // Told below.
  }
  throw new UsageError(`${file}:${number}: this is no client; 'fleetgate fleet export' writes such a file`);
}
