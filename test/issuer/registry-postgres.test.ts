import { afterAll, beforeAll } from 'vitest';
import { openPostgresRegistry } from '../../issuer/registry/postgres/registry.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { fleetContract } from './fleet-registry-contract.ts';
import { apiKeysContract } from './registry-api-keys.ts';
import { clientChangesContract } from './registry-client-changes.ts';
import { registryContract } from './registry-contract.ts';
import { signingKeyContract } from './signing-key-contract.ts';

let postgres: Postgres;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

for (const contract of [
  registryContract,
  clientChangesContract,
  apiKeysContract,
  signingKeyContract,
  fleetContract,
]) {
  contract('PostgreSQL', async () => {
    const url = postgres.url();
    const registry = await openPostgresRegistry(url);
    const opened = [registry];
    const openAnother = async () => {
      const another = await openPostgresRegistry(url);
      opened.push(another);
      return another;
    };
    return {
      registry,
      openAnother,
      dispose: async () => {
        for (const each of opened) await each.close();
      },
    };
  });
}
