import { inject } from 'vitest';
import { openPostgresRegistry } from '../../issuer/registry/postgres/registry.ts';
import { fleetContract } from './fleet-registry-contract.ts';
import { apiKeysContract } from './registry-api-keys.ts';
import { clientChangesContract } from './registry-client-changes.ts';
import { registryContract } from './registry-contract.ts';
import { secretRegistryContract } from './secret-registry-contract.ts';
import { signingKeyContract } from './signing-key-contract.ts';

let schemas = 0;

for (const contract of [
  registryContract,
  clientChangesContract,
  apiKeysContract,
  signingKeyContract,
  fleetContract,
  secretRegistryContract,
]) {
  contract('PostgreSQL', async () => {
    schemas += 1;
    const url = `${inject('postgres')}?schema=contract_${schemas}`;
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
