/** The clients of a run. Both the process that registers them and the one that makes the load derive them. */
import { createHash } from 'node:crypto';
import { clientSecretStatements } from '../../issuer/registry/sqlite/client-secrets.ts';
import { clientStatements } from '../../issuer/registry/sqlite/clients.ts';
import { openDatabase } from '../../issuer/registry/sqlite/database.ts';
import { unusedSecret } from '../../issuer/secrets.ts';

export const SCOPE = 'telemetry.write commands.read';
export const AUDIENCE = 'https://mqtt.bench';

/** Clients in one transaction of the registration. */
const BATCH = 10_000;

export const clientId = (n: number) => `device-${n}`;

export function clientSecret(n: number): string {
  return createHash('sha256').update(`bench-${n}`).digest('base64url');
}

/** Registers clients 0 to `count - 1`, as a fleet that runs has them: each secret was used before. */
export async function registerClients(databaseFile: string, count: number): Promise<void> {
  const database = await openDatabase(databaseFile);
  const secrets = clientSecretStatements(database);
  const clients = clientStatements(database, secrets);
  const nowMs = Date.now();
  const registerBatch = database.transaction((from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      clients.insert({
        clientId: clientId(n),
        name: undefined,
        scope: SCOPE,
        audience: [AUDIENCE],
        authMethod: 'client_secret_basic',
        grantTypes: ['client_credentials'],
        group: undefined,
        labels: {},
        metadata: {},
        tokenLifetimeSeconds: undefined,
        secrets: [unusedSecret(clientSecret(n), { createdAtMs: nowMs })],
        supertokens: {},
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      });
    }
  });
  for (let from = 0; from < count; from += BATCH) registerBatch(from, Math.min(count, from + BATCH));
  database.prepare('UPDATE client_secrets SET first_used_at_ms = ?, last_used_at_ms = ?').run(nowMs, nowMs);
  database.pragma('wal_checkpoint(TRUNCATE)');
  database.close();
}
