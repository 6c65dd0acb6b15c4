import { clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { NewRevocation } from '../../revocation.ts';
import type { ClientChangesRegistry } from '../client-changes.ts';
import type { Acts } from './acts.ts';
import type { ClientStatements } from './clients.ts';
import { creationKeys } from './creation-keys.ts';
import type { Database } from './database.ts';

/** What the acts on clients need of those on revocations. */
export interface ClientRevoker {
  /** Revokes all tokens the client was issued so far. Whether there is such a client; `false` with nothing written. */
  revokeClient(revocation: NewRevocation & { kind: 'client' }, atMs: number): boolean;
}

/** The acts on clients that are registered. */
export function clientChangeActs(
  database: Database,
  clients: ClientStatements,
  { revokeClient }: ClientRevoker,
  { write, record }: Acts,
): ClientChangesRegistry {
  const keys = creationKeys(database);
  const update = database.prepare<unknown[]>(`
    UPDATE clients SET name = ?, scope = ?, audience = ?, auth_method = ?, grant_types = ?, client_group = ?, labels = ?,
      metadata = ?, token_lifetime_seconds = ?, supertokens = ?, updated_at_ms = ?, auth_parameters = ?,
      revision = revision + 1
    WHERE registration = ? AND revision = ?`);
  const quarantine = database.prepare<unknown[]>(`
    UPDATE clients SET quarantined_at_ms = ifnull(quarantined_at_ms, ?), quarantine_reason = ?, updated_at_ms = ?,
      revision = revision + 1
    WHERE client_id = ?`);
  const release = database.prepare<[number, string]>(`
    UPDATE clients SET quarantined_at_ms = NULL, quarantine_reason = NULL, updated_at_ms = ?, revision = revision + 1
    WHERE client_id = ? AND quarantined_at_ms IS NOT NULL`);

  return {
    createClientOnce: (client, key, event) =>
      write(() => {
        const before = keys.find(key);
        if (before !== undefined) {
          if (!key.requestHash.every((byte, i) => byte === before.requestHash[i])) {
            return { outcome: 'key_reused' } as const;
          }
          const made = clients.find(before.clientId);
          const isSame = made?.registration === before.registration;
          return { outcome: 'repeated', client: isSame ? made : undefined } as const;
        }
        if (!clients.insert(client)) return { outcome: 'conflict' } as const;
        const { registration } = clients.find(client.clientId) ?? {};
        keys.insert(key, { registration: registration as number, clientId: client.clientId }, event.atMs);
        record(event);
        return { outcome: 'created' } as const;
      }),
    updateClient: (client, event, revocation) =>
      write(() => {
        const { changes } = update.run(
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
        clients.setLabels(client.registration, client);
        if (revocation !== undefined) revokeClient(revocation, event.atMs);
        record(event);
        return true;
      }),
    quarantineClient: (revocation, reason, event) =>
      write(() => {
        const { clientId } = revocation;
        // One in quarantine was issued nothing since.
        const isNew = clients.find(clientId)?.quarantine === undefined;
        if (isNew && !revokeClient(revocation, event.atMs)) return false;
        quarantine.run(event.atMs, reason, event.atMs, clientId);
        record(event);
        return true;
      }),
    releaseClient: (clientId, event) =>
      write(() => {
        if (release.run(event.atMs, clientId).changes === 0) return false;
        record(event);
        return true;
      }),
  };
}
