import { stat } from 'node:fs/promises';
import { FleetgateError } from '@fleetgate/shared';
import type { AuditEvent } from '../../audit.ts';
import type { NewRevocation } from '../../revocation.ts';
import type { Registry, RevocationRecorded, TokenRecorded } from '../registry.ts';
import type { SigningKeyChange, SigningKeysChanged } from '../signing-key-registry.ts';
import type { Acts } from './acts.ts';
import { apiKeyActs } from './api-keys.ts';
import { auditStatements } from './audit-events.ts';
import { campaignActs } from './campaigns.ts';
import { clientChangeActs } from './client-changes.ts';
import { clientSecretStatements } from './client-secrets.ts';
import { clientStatements } from './clients.ts';
import { sequenceStatements } from './coap-sequence.ts';
import { asRegistryError, checkPages, forgetPages, isFault, openDatabase, touch } from './database.ts';
import { enrollmentActs } from './enrollments.ts';
import { groupCommit } from './group-commit.ts';
import { jobActs } from './provisioning.ts';
import { revocationStatements } from './revocations.ts';
import { secretActs } from './secret-acts.ts';
import { sharedReads } from './shared-reads.ts';
import { signingKeyStatements } from './signing-keys.ts';
import { templateActs } from './templates.ts';
import { usedAssertionStatements } from './used-assertions.ts';

/**
 * The registry in one SQLite file, made 0600. Reads run at once; writes go through the group commit.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`
 */
export async function openSqliteRegistry(file: string): Promise<Registry> {
  const database = await openDatabase(file);
  const { ino: inode } = await stat(file);
  const secrets = clientSecretStatements(database);
  const clients = clientStatements(database, secrets);
  const audit = auditStatements(database);
  const keys = signingKeyStatements(database);
  const revocations = revocationStatements(database);
  const assertions = usedAssertionStatements(database);
  const reads = sharedReads(database);
  const commits = groupCommit(database, { onBegin: reads.end, onOtherState: audit.forgetLast });
  const probe = database.prepare('SELECT registration FROM clients LIMIT 1');

  let hasReadFault = false;

  async function read<T>(query: () => T): Promise<T> {
    if (!database.open) throw new FleetgateError('registry_unavailable', 'the registry is closed');
    try {
      reads.begin();
      return query();
    } catch (error) {
      if (isFault(error)) {
        hasReadFault = true;
        reads.end();
        forgetPages(database);
      }
      throw asRegistryError(error);
    }
  }

  const acts: Acts = { read, write: commits.run, record: audit.insert };

  // Of this process, whose clock may have been set back since; other processes are known by the audit's last row.
  let latestIssueMs = 0;
  const lastIssueMs = () => Math.max(latestIssueMs, audit.lastAtMs());

  /** The revocation so that it hits all the client was issued so far; unset for no such client. */
  function reachingAll<One extends NewRevocation & { kind: 'client' }>(revocation: One): One | undefined {
    const issuedAhead = clients.issuedAhead(revocation.clientId);
    if (issuedAhead === undefined) return undefined;
    const lastIssued = Math.max(issuedAhead, Math.floor(lastIssueMs() / 1000));
    const more = Math.max(0, lastIssued - revocation.atSeconds);
    return {
      ...revocation,
      atSeconds: revocation.atSeconds + more,
      expiresAtSeconds: revocation.expiresAtSeconds + more,
    };
  }

  function revokeClient(asked: NewRevocation & { kind: 'client' }, atMs: number): boolean {
    const revocation = reachingAll(asked);
    if (revocation === undefined) return false;
    revocations.insert(revocation, atMs);
    return true;
  }

  function revoke(asked: Exclude<NewRevocation, { kind: 'key' }>, event: AuditEvent): RevocationRecorded {
    const revocation = asked.kind === 'client' ? reachingAll(asked) : asked;
    if (revocation === undefined) return { outcome: 'client_unknown' };
    if (revocation.kind === 'issued_before' && revocation.clientId !== undefined) {
      if (clients.issuedAhead(revocation.clientId) === undefined) return { outcome: 'client_unknown' };
    }
    const already = revocations.find(revocation);
    if (already !== undefined) return { outcome: 'already', revocation: already };
    audit.insert(event);
    return { outcome: 'recorded', revocation: revocations.insert(revocation, event.atMs) };
  }

  function changeKeys(change: SigningKeyChange): SigningKeysChanged {
    const { revision, atMs, put, removed, revocation, events } = change;
    const already = revocation && revocations.find(revocation);
    if (already !== undefined) return { outcome: 'already', revocation: already };
    if (keys.revision() !== revision) return { outcome: 'outdated' };
    if (revocation !== undefined && !keys.exists(revocation.keyId)) return { outcome: 'key_unknown' };
    const setBackMs = Math.max(0, lastIssueMs() - atMs);
    const lasting = put.map((key) =>
      key.publishedUntilMs === undefined
        ? key
        : { ...key, publishedUntilMs: key.publishedUntilMs + setBackMs },
    );
    keys.change(lasting, removed);
    for (const event of events) audit.insert(event);
    return {
      outcome: 'changed',
      set: keys.set(),
      revocation: revocation && revocations.insert(revocation, atMs),
    };
  }

  return {
    findClient: (clientId) => read(() => clients.find(clientId)),
    ...clientChangeActs(database, clients, { revokeClient }, acts),
    ...apiKeyActs(database, acts),
    ...secretActs(clients, secrets, { revokeClient }, sequenceStatements(database), acts),
    ...templateActs(database, acts),
    ...jobActs(database, clients, acts),
    ...campaignActs(database, clients, secrets, acts),
    ...enrollmentActs(database, clients, secrets, { revokeClient }, acts),
    selectClients: (page) => read(() => clients.select(page)),
    countClients: (page) => read(() => clients.count(page)),
    listClients: ({ after = '', limit, filter }) => read(() => clients.list(after, limit, filter)),
    createClient: (client, event) =>
      commits.run(() => {
        if (!clients.insert(client)) return false;
        audit.insert(event);
        return true;
      }),
    deleteClient: (revocation, event, only) =>
      commits.run(() => {
        if (only !== undefined && clients.revision(only.registration) !== only.revision) return false;
        if (!revokeClient(revocation, event.atMs)) return false;
        clients.remove(revocation.clientId);
        audit.insert(event);
        return true;
      }),
    recordIssuedToken: ({ registration, revision, clientId }, { issuedAtSeconds, keyId, assertion }, event) =>
      commits.run((): TokenRecorded => {
        const isRevision = clients.revision(registration);
        if (isRevision === undefined) return { outcome: 'registration_ended' };
        if (isRevision !== revision) return { outcome: 'registration_changed' };
        if (keyId !== undefined && !keys.isActive(keyId)) return { outcome: 'key_retired' };
        const validFromSeconds = revocations.validFrom(clientId, issuedAtSeconds);
        if (validFromSeconds !== undefined) return { outcome: 'revoked_already', validFromSeconds };
        if (assertion !== undefined && !assertions.use(assertion, Math.floor(event.atMs / 1000))) {
          return { outcome: 'assertion_used' };
        }
        latestIssueMs = Math.max(latestIssueMs, event.atMs);
        if (issuedAtSeconds * 1000 > event.atMs) clients.setIssuedAhead(registration, issuedAtSeconds);
        audit.insert(event);
        return { outcome: 'recorded' };
      }),
    revoke: (revocation, event) => commits.run(() => revoke(revocation, event)),
    listRevocations: ({ after, nowSeconds, limit }) => read(() => revocations.list(after, nowSeconds, limit)),
    isRevoked: (token) => read(() => revocations.hits(token)),
    revocationMark: () => read(() => revocations.lastSequence()),
    pruneRevocations: (nowSeconds) => commits.run(() => revocations.prune(nowSeconds)),
    recordEvent: (event) => commits.run(() => audit.insert(event)),
    listEvents: ({ after = 0, limit }) => read(() => audit.list(after, limit)),
    searchEvents: (query) => read(() => audit.search(query)),
    pruneEvents: (beforeMs, event) => commits.run(() => audit.prune(beforeMs, event)),
    signingKeys: () => read(() => keys.set()),
    signingKeyRevision: () => read(() => keys.revision()),
    changeSigningKeys: (change) => commits.run(() => changeKeys(change)),
    counts: () =>
      read(() => ({ auditEvents: audit.count(), quarantinedClients: clients.countQuarantined() })),
    load: commits.load,
    useAssertion: (assertion, nowSeconds) => commits.run(() => assertions.use(assertion, nowSeconds)),
    async isAvailable() {
      try {
        reads.end();
        const isDoubtful = hasReadFault || commits.isFailing();
        if (isDoubtful) forgetPages(database);
        probe.get();
        // A file that was deleted or replaced still answers through our descriptor, but is gone after a restart.
        if ((await stat(file)).ino !== inode) return false;
        if (isDoubtful) {
          await commits.run(() => touch(database));
          checkPages(database, file);
          hasReadFault = false;
        }
        return true;
      } catch {
        return false;
      }
    },
    async close() {
      reads.end();
      commits.close();
      if (database.open) database.close();
    },
  };
}
