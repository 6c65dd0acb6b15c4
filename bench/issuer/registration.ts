import { clients } from '../../issuer/registry/acts/clients.ts';
import { openDatabase } from '../../issuer/registry/sqlite/database.ts';
import { actRunner } from '../../issuer/registry/sqlite/run-act.ts';
import { hashSecret, unusedSecret } from '../../issuer/secrets.ts';
import { AUDIENCE, clientId, clientKeys, clientSecret, SCOPE } from './clients.ts';
import type { BenchAuth } from './goals.ts';

/** Clients in one transaction of the registration. */
const BATCH = 10_000;

/** Registers clients 0 to `count - 1`, as a fleet that runs has them: each secret was used before. */
export async function registerClients(file: string, count: number, auth: BenchAuth): Promise<void> {
  const database = await openDatabase(file);
  const run = actRunner(database);
  const nowMs = Date.now();
  const clientOf = (n: number) => ({
    clientId: clientId(n),
    name: undefined,
    scope: SCOPE,
    audience: [AUDIENCE],
    authMethod: auth,
    ...(auth === 'private_key_jwt' ? { jwks: { keys: [clientKeys(n).publicJwk] } } : {}),
    grantTypes: ['client_credentials'],
    group: undefined,
    labels: {},
    metadata: {},
    tokenLifetimeSeconds: undefined,
    secrets:
      auth === 'private_key_jwt'
        ? []
        : [unusedSecret({ hash: hashSecret(clientSecret(n)) }, { createdAtMs: nowMs })],
    supertokens: {},
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  });
  const registerBatch = database.transaction((from: number, to: number) => {
    run(clients.insert(Array.from({ length: to - from }, (_, i) => clientOf(from + i))));
  });
  for (let from = 0; from < count; from += BATCH) registerBatch(from, Math.min(count, from + BATCH));
  database.prepare('UPDATE client_secrets SET first_used_at_ms = ?, last_used_at_ms = ?').run(nowMs, nowMs);
  database.prepare('UPDATE clients SET last_seen_at_ms = ?').run(nowMs);
  database.pragma('wal_checkpoint(TRUNCATE)');
  database.close();
}
