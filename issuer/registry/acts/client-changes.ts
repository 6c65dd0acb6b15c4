import { clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { NewRevocation } from '../../revocation.ts';
import type { ClientChangesRegistry } from '../client-changes.ts';
import { clients } from './clients.ts';
import { creationKeys } from './creation-keys.ts';
import { type Act, sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

/** What the acts on clients need of those on revocations. */
export interface ClientRevoker {
  /** Revokes all tokens the client was issued so far. Whether there is such a client; `false` with nothing written. */
  revokeClient(revocation: NewRevocation & { kind: 'client' }, atMs: number): Act<boolean>;
}

const update = sql<Value[]>(`
  UPDATE clients SET name = ?, scope = ?, audience = ?, auth_method = ?, grant_types = ?, client_group = ?, labels = ?,
    metadata = ?, token_lifetime_seconds = ?, supertokens = ?, updated_at_ms = ?, auth_parameters = ?,
    revision = revision + 1
  WHERE registration = ? AND revision = ?`);
const quarantine = sql<[atMs: number, reason: string, updatedAtMs: number, clientId: string]>(`
  UPDATE clients SET quarantined_at_ms = coalesce(quarantined_at_ms, ?), quarantine_reason = ?, updated_at_ms = ?,
    revision = revision + 1
  WHERE client_id = ?`);
const release = sql<[atMs: number, clientId: string]>(`
  UPDATE clients SET quarantined_at_ms = NULL, quarantine_reason = NULL, updated_at_ms = ?, revision = revision + 1
  WHERE client_id = ? AND quarantined_at_ms IS NOT NULL`);

/** The acts on clients that are registered. */
export function clientChangeActs(
  { write, record }: Store,
  { revokeClient }: ClientRevoker,
): ClientChangesRegistry {
  return {
    createClientOnce: (client, key, event) =>
      write(function* () {
        const before = yield* creationKeys.find(key);
        if (before !== undefined) {
          if (!key.requestHash.every((byte, i) => byte === before.requestHash[i])) {
            return { outcome: 'key_reused' } as const;
          }
          const made = yield* clients.find(before.clientId);
          const isSame = made?.registration === before.registration;
          return { outcome: 'repeated', client: isSame ? made : undefined } as const;
        }
        const [registration] = yield* clients.insert([client]);
        if (registration === undefined) return { outcome: 'conflict' } as const;
        yield* creationKeys.insert(key, { registration, clientId: client.clientId }, event.atMs);
        yield* record(event);
        return { outcome: 'created' } as const;
      }),
    updateClient: (client, event, revocation) =>
      write(function* () {
        const changes = yield* update.run(
          client.name ?? null,
          client.scope,
          JSON.stringify(client.audience),
          client.authMethod,
          JSON.stringify(client.grantTypes),
          client.group ?? null,
          JSON.stringify(client.labels),
          JSON.stringify(client.metadata),
          client.tokenLifetimeSeconds ?? null,
          JSON.stringify(client.supertokens),
          client.updatedAtMs,
          JSON.stringify(clientAuthParametersOf(client)),
          client.registration,
          client.revision,
        );
        if (changes === 0) return false;
        yield* clients.setLabels(client.registration, client);
        if (revocation !== undefined) yield* revokeClient(revocation, event.atMs);
        yield* record(event);
        return true;
      }),
    quarantineClient: (revocation, reason, event) =>
      write(function* () {
        const { clientId } = revocation;
        // One in quarantine was issued nothing since.
        const isNew = (yield* clients.find(clientId))?.quarantine === undefined;
        if (isNew && !(yield* revokeClient(revocation, event.atMs))) return false;
        yield* quarantine.run(event.atMs, reason, event.atMs, clientId);
        yield* record(event);
        return true;
      }),
    releaseClient: (clientId, event) =>
      write(function* () {
        if ((yield* release.run(event.atMs, clientId)) === 0) return false;
        yield* record(event);
        return true;
      }),
  };
}
