import type { AuditEvent } from '../../audit.ts';
import type { NewRevocation } from '../../revocation.ts';
import type { ClientRecord, IssuedToken, Registry, RevocationRecorded, TokenRecorded } from '../registry.ts';
import type { SigningKeyChange, SigningKeysChanged } from '../signing-key-registry.ts';
import { apiKeyActs } from './api-keys.ts';
import { auditReading, auditTrail } from './audit-events.ts';
import { campaignActs } from './campaigns.ts';
import { clientChangeActs } from './client-changes.ts';
import { clients } from './clients.ts';
import { enrollmentActs } from './enrollments.ts';
import { jobActs } from './provisioning.ts';
import { revocations } from './revocations.ts';
import { secretActs } from './secret-acts.ts';
import { signingKeys } from './signing-keys.ts';
import type { Act } from './statement.ts';
import type { Store } from './store.ts';
import { templateActs } from './templates.ts';
import { usedAssertions } from './used-assertions.ts';

/** How far a revocation of all clients goes ahead of the clock. Ours: what brokers take `iat` to differ by default. */
const MAX_AHEAD_OF_ALL_SECONDS = 5;

type IssuedBefore = NewRevocation & { readonly kind: 'issued_before' };

type RegistryActs = Omit<Registry, 'isShared' | 'load' | 'isAvailable' | 'close' | 'onOtherRevocations'>;

/** All acts of a registry on the store that keeps it. */
export function registryActs(store: Store): RegistryActs {
  const { read, write, record, lastActMs } = store;
  const assertions = usedAssertions();

  /** The revocation so that it hits all the client was issued so far; unset for no such client. */
  function* reachingAll<One extends NewRevocation & { kind: 'client' }>(
    revocation: One,
  ): Act<One | undefined> {
    const issuedAhead = yield* clients.issuedAhead(revocation.clientId);
    if (issuedAhead === undefined) return undefined;
    return notBefore(revocation, Math.max(issuedAhead, Math.floor((yield* lastActMs()) / 1000)));
  }

  /**
   * The revocation of what was issued before a moment. One that is not past means all that was issued so far: also what
   * another revocation put ahead of the clock, or another issuer by its clock. Unset for no such client.
   */
  function* reachingNow(revocation: IssuedBefore, nowSeconds: number): Act<IssuedBefore | undefined> {
    const { clientId, atSeconds } = revocation;
    const ofClient = clientId === undefined ? 0 : yield* clients.issuedAhead(clientId);
    if (ofClient === undefined) return undefined;
    if (atSeconds <= nowSeconds) return revocation;
    const lastAct = Math.floor((yield* lastActMs()) / 1000);
    if (clientId !== undefined) return notBefore(revocation, Math.max(ofClient, lastAct) + 1);
    // A clock that was far ahead once, or one client, must not keep the whole fleet without tokens.
    const ahead = Math.max(lastAct, yield* issuedAheadOfAll(nowSeconds));
    return notBefore(revocation, Math.min(ahead, nowSeconds + MAX_AHEAD_OF_ALL_SECONDS) + 1);
  }

  function* issuedAheadOfAll(nowSeconds: number): Act<number> {
    // Only a revocation puts tokens ahead: mostly there is none that late, and no client need be looked at.
    return (yield* revocations.lastMoment()) < nowSeconds ? 0 : yield* clients.issuedAheadOfAll();
  }

  /** Of each client with a token farther ahead than a revocation of all reaches, one of its own. */
  function* ofThoseBeyond({ clientId, atSeconds, ...rest }: IssuedBefore, nowSeconds: number) {
    const made: IssuedBefore[] = [];
    if (clientId !== undefined || atSeconds <= nowSeconds) return made;
    if ((yield* revocations.lastMoment()) < atSeconds) return made;
    for (const beyond of yield* clients.issuedAtOrAfter(atSeconds)) {
      const own = notBefore({ ...rest, clientId: beyond.clientId, atSeconds }, beyond.at + 1);
      if ((yield* revocations.find(own)) === undefined) made.push(own);
    }
    return made;
  }

  function* revokeClient(asked: NewRevocation & { kind: 'client' }, atMs: number): Act<boolean> {
    const revocation = yield* reachingAll(asked);
    if (revocation === undefined) return false;
    yield* revocations.insert(revocation, atMs);
    return true;
  }

  function* revoke(
    asked: Exclude<NewRevocation, { kind: 'key' }>,
    event: AuditEvent,
  ): Act<RevocationRecorded> {
    const nowSeconds = Math.floor(event.atMs / 1000);
    const revocation = yield* reaching(asked, nowSeconds);
    if (revocation === undefined) return { outcome: 'client_unknown' };
    const beyond = revocation.kind === 'issued_before' ? yield* ofThoseBeyond(revocation, nowSeconds) : [];
    const already = yield* revocations.find(revocation);
    if (already !== undefined && beyond.length === 0) return { outcome: 'already', revocation: already };
    yield* record(event);
    for (const one of beyond) yield* revocations.insert(one, event.atMs);
    return { outcome: 'recorded', revocation: yield* revocations.insert(revocation, event.atMs) };
  }

  function* reaching(
    asked: Exclude<NewRevocation, { kind: 'key' }>,
    nowSeconds: number,
  ): Act<Exclude<NewRevocation, { kind: 'key' }> | undefined> {
    if (asked.kind === 'client') return yield* reachingAll(asked);
    return asked.kind === 'issued_before' ? yield* reachingNow(asked, nowSeconds) : asked;
  }

  function* changeKeys(change: SigningKeyChange): Act<SigningKeysChanged> {
    const { revision, atMs, put, removed, revocation, events } = change;
    const already = revocation && (yield* revocations.find(revocation));
    if (already !== undefined) return { outcome: 'already', revocation: already };
    if ((yield* signingKeys.revision()) !== revision) return { outcome: 'outdated' };
    if (revocation !== undefined && !(yield* signingKeys.exists(revocation.keyId))) {
      return { outcome: 'key_unknown' };
    }
    const setBackMs = Math.max(0, (yield* lastActMs()) - atMs);
    const lasting = put.map((key) =>
      key.publishedUntilMs === undefined
        ? key
        : { ...key, publishedUntilMs: key.publishedUntilMs + setBackMs },
    );
    yield* signingKeys.change(lasting, removed);
    for (const event of events) yield* record(event);
    const set = yield* signingKeys.set();
    return {
      outcome: 'changed',
      set,
      revocation: revocation && (yield* revocations.insert(revocation, atMs)),
    };
  }

  function* recordToken(
    client: ClientRecord,
    { issuedAtSeconds, keyId, assertion }: IssuedToken,
    event: AuditEvent,
  ): Act<TokenRecorded> {
    const { registration, revision, clientId } = client;
    const isRevision = yield* clients.revision(registration);
    if (isRevision === undefined) return { outcome: 'registration_ended' };
    if (isRevision !== revision) return { outcome: 'registration_changed' };
    if (keyId !== undefined && !(yield* signingKeys.isActive(keyId))) return { outcome: 'key_retired' };
    const validFromSeconds = yield* revocations.validFrom(clientId, issuedAtSeconds);
    if (validFromSeconds !== undefined) return { outcome: 'revoked_already', validFromSeconds };
    if (assertion !== undefined) {
      const [isUnused] = yield* assertions.use([assertion], Math.floor(event.atMs / 1000));
      if (!isUnused) return { outcome: 'assertion_used' };
    }
    if (issuedAtSeconds * 1000 > event.atMs) yield* clients.setIssuedAhead(registration, issuedAtSeconds);
    yield* clients.setLastSeen(client, event.atMs);
    yield* record(event);
    return { outcome: 'recorded' };
  }

  return {
    findClient: (clientId) => read(() => clients.find(clientId)),
    ...clientChangeActs(store, { revokeClient }),
    ...apiKeyActs(store),
    ...secretActs(store, { revokeClient }),
    ...templateActs(store),
    ...jobActs(store),
    ...campaignActs(store),
    ...enrollmentActs(store, { revokeClient }),
    selectClients: (page) => read(() => clients.select(page)),
    countClients: (page) => read(() => clients.count(page)),
    listClients: ({ after = '', limit, filter }) => read(() => clients.list(after, limit, filter)),
    createClient: (client, event) =>
      write(function* () {
        const [registration] = yield* clients.insert([client]);
        if (registration === undefined) return false;
        yield* record(event);
        return true;
      }),
    deleteClient: (revocation, event, only) =>
      write(function* () {
        if (only !== undefined && (yield* clients.revision(only.registration)) !== only.revision)
          return false;
        if (!(yield* revokeClient(revocation, event.atMs))) return false;
        yield* clients.remove(revocation.clientId);
        yield* record(event);
        return true;
      }),
    recordIssuedToken: (client, token, event) => write(() => recordToken(client, token, event)),
    revoke: (revocation, event) => write(() => revoke(revocation, event)),
    listRevocations: ({ after, nowSeconds, limit }) => read(() => revocations.list(after, nowSeconds, limit)),
    isRevoked: (token) => read(() => revocations.hits(token)),
    revocationMark: () => read(() => revocations.lastSequence()),
    pruneRevocations: (nowSeconds) => write(() => revocations.prune(nowSeconds)),
    recordEvent: (event) => write(() => record(event)),
    listEvents: ({ after = 0, limit }) => read(() => auditReading.list(after, limit)),
    searchEvents: (query) => read(() => auditReading.search(query)),
    pruneEvents: (beforeMs, event) => write(() => auditTrail.prune(beforeMs, event, store)),
    signingKeys: () => read(() => signingKeys.set()),
    signingKeyRevision: () => read(() => signingKeys.revision()),
    changeSigningKeys: (change) => store.writeOverwriting(() => changeKeys(change)),
    counts: () =>
      read(function* () {
        return {
          auditEvents: yield* auditReading.count(),
          quarantinedClients: yield* clients.countQuarantined(),
        };
      }),
    useAssertion: (assertion, nowSeconds) =>
      write(function* () {
        const [isUnused = false] = yield* assertions.use([assertion], nowSeconds);
        return isUnused;
      }),
  };
}

/** The revocation with its moment, and its end, put off to that second at least. */
function notBefore<One extends NewRevocation & { atSeconds: number }>(revocation: One, seconds: number): One {
  const more = Math.max(0, seconds - revocation.atSeconds);
  return {
    ...revocation,
    atSeconds: revocation.atSeconds + more,
    expiresAtSeconds: revocation.expiresAtSeconds + more,
  };
}
