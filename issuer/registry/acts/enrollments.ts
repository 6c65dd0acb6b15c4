import { clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { ClientRegistration } from '../../client-registration.ts';
import type {
  Admission,
  EnrollmentRecord,
  EnrollmentRegistry,
  EnrollmentRequestRecord,
  RequestRecorded,
  RequestState,
} from '../enrollment-registry.ts';
import type { JsonObject } from '../registry.ts';
import type { ClientRevoker } from './client-changes.ts';
import { clientSecrets } from './client-secrets.ts';
import { clients } from './clients.ts';
import { type Act, sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

interface EnrollmentRow {
  sequence: number;
  id: string;
  code_hash: Buffer | null;
  primary_key: Buffer | null;
  secondary_key: Buffer | null;
  template: string;
  row: string;
  max_uses: number | null;
  uses: number;
  expires_at_ms: number | null;
  needs_approval: 0 | 1;
  replaces: 0 | 1;
  revoked_at_ms: number | null;
  created_by: string;
  created_at_ms: number;
}

interface RequestRow {
  sequence: number;
  id: string;
  enrollment_id: string;
  device_hash: Buffer;
  state: RequestState;
  client_id: string;
  template_version: number;
  registration: string;
  salt: Buffer;
  reason: string | null;
  created_at_ms: number;
  updated_at_ms: number;
}

const insert = sql<Value[]>(`
  INSERT INTO enrollments (id, code_hash, primary_key, secondary_key, template, row, max_uses, uses, expires_at_ms,
    needs_approval, replaces, revoked_at_ms, created_by, created_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const find = sql<[string], EnrollmentRow>('SELECT * FROM enrollments WHERE id = ?');
const byCode = sql<[Uint8Array], EnrollmentRow>('SELECT * FROM enrollments WHERE code_hash = ?');
// Every character of an id is smaller than ~.
const starting = sql<[string, string], EnrollmentRow>(
  "SELECT * FROM enrollments WHERE id >= ? AND id < ? || '~' AND primary_key IS NOT NULL LIMIT 2",
);
const list = sql<[number, number], EnrollmentRow>(
  'SELECT * FROM enrollments WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
);
const revoke = sql<[number, string]>(
  'UPDATE enrollments SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL',
);
const setKeys = sql<[Uint8Array | null, Uint8Array | null, string]>(`
  UPDATE enrollments SET primary_key = coalesce(?, primary_key), secondary_key = coalesce(?, secondary_key)
  WHERE id = ? AND primary_key IS NOT NULL`);
const withKeys = sql<[string, number], EnrollmentRow>(
  'SELECT * FROM enrollments WHERE primary_key IS NOT NULL AND id > ? ORDER BY id LIMIT ?',
);
const use = sql<[string]>('UPDATE enrollments SET uses = uses + 1 WHERE id = ?');
const allow = sql<[string, string]>(
  'INSERT INTO enrollment_allowed (enrollment_id, client_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
);
const isAllowed = sql<[string, string], { client_id: string }>(
  'SELECT client_id FROM enrollment_allowed WHERE enrollment_id = ? AND client_id = ?',
);
const insertRequest = sql<Value[]>(`
  INSERT INTO enrollment_requests (id, enrollment_id, device_hash, state, client_id, template_version, registration,
    salt, reason, created_at_ms, updated_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const removeRequest = sql<[string, Uint8Array]>(
  'DELETE FROM enrollment_requests WHERE enrollment_id = ? AND device_hash = ?',
);
const requestOfDevice = sql<[string, Uint8Array], RequestRow>(
  'SELECT * FROM enrollment_requests WHERE enrollment_id = ? AND device_hash = ?',
);
const findRequest = sql<[string], RequestRow>('SELECT * FROM enrollment_requests WHERE id = ?');
const listRequests = sql<[Record<string, Value>], RequestRow>(`
  SELECT * FROM enrollment_requests
  WHERE sequence > @after AND (state = @state OR @state IS NULL)
    AND (enrollment_id = @enrollmentId OR @enrollmentId IS NULL)
  ORDER BY sequence LIMIT @limit`);
const setState = sql<Value[]>(
  'UPDATE enrollment_requests SET state = ?, reason = ?, updated_at_ms = ? WHERE id = ?',
);
const setAuthParameters = sql<[string, number, number]>(
  'UPDATE clients SET auth_parameters = ?, updated_at_ms = ? WHERE registration = ?',
);

/** The acts on enrollments. */
export function enrollmentActs(
  { read, write, record }: Store,
  { revokeClient }: ClientRevoker,
): EnrollmentRegistry {
  /** Makes the client, or gives one that the template made before new credentials. Whether that may be. */
  function* admit(
    { template, replaces }: EnrollmentRow,
    { client, revocation, events }: Admission,
  ): Act<boolean> {
    const before = yield* clients.find(client.clientId);
    if (before === undefined) {
      if ((yield* clients.insert([client]))[0] === undefined) return false;
      yield* record(events.created);
      return true;
    }
    const isOurs = before.origin?.template === template && before.authMethod === client.authMethod;
    // Who was taken out of service does not come back by another door.
    if (replaces === 0 || !isOurs || before.quarantine !== undefined) return false;
    const [secret] = client.secrets;
    const { atMs } = events.replaced;
    if (secret === undefined) {
      const parameters = JSON.stringify(clientAuthParametersOf(client));
      yield* setAuthParameters.run(parameters, atMs, before.registration);
    } else {
      const rotation = { clientId: client.clientId, secret, olderEndAtMs: atMs, olderEndOnSuccession: false };
      if ((yield* clientSecrets.rotate(before.registration, rotation)) === undefined) return false;
    }
    yield* revokeClient(revocation, atMs);
    yield* clients.countChange(before.registration);
    yield* record(events.replaced);
    return true;
  }

  function* recordRequest(
    request: EnrollmentRequestRecord,
    admission: Admission | undefined,
    atMs: number,
    renews: boolean,
  ): Act<RequestRecorded> {
    const enrollment = yield* find.get(request.enrollmentId);
    if (enrollment === undefined || enrollment.revoked_at_ms !== null) return { outcome: 'closed' };
    if (enrollment.expires_at_ms !== null && enrollment.expires_at_ms <= atMs) return { outcome: 'closed' };
    const isKnown = (yield* requestOfDevice.get(request.enrollmentId, request.deviceHash)) !== undefined;
    if (isKnown && !renews) return { outcome: 'known' };
    if (enrollment.max_uses !== null && enrollment.uses >= enrollment.max_uses)
      return { outcome: 'exhausted' };
    if (admission !== undefined && !(yield* admit(enrollment, admission))) return { outcome: 'conflict' };
    if (isKnown) yield* removeRequest.run(request.enrollmentId, request.deviceHash);
    yield* insertRequest.run(
      request.id,
      request.enrollmentId,
      request.deviceHash,
      request.state,
      request.clientId,
      request.templateVersion,
      JSON.stringify(request.registration),
      request.salt,
      request.reason ?? null,
      request.createdAtMs,
      request.updatedAtMs,
    );
    yield* use.run(request.enrollmentId);
    return { outcome: 'recorded' };
  }

  return {
    createEnrollment: (enrollment, event) =>
      write(function* () {
        yield* insert.run(
          enrollment.id,
          enrollment.codeHash ?? null,
          enrollment.groupKeys?.primary ?? null,
          enrollment.groupKeys?.secondary ?? null,
          enrollment.template,
          JSON.stringify(enrollment.row),
          enrollment.maxUses ?? null,
          enrollment.uses,
          enrollment.expiresAtMs ?? null,
          enrollment.needsApproval ? 1 : 0,
          enrollment.replaces ? 1 : 0,
          enrollment.revokedAtMs ?? null,
          enrollment.createdBy,
          enrollment.createdAtMs,
        );
        yield* record(event);
      }),
    findEnrollment: (id) =>
      read(function* () {
        return toEnrollment(yield* find.get(id));
      }),
    findEnrollmentStarting: (idStart) =>
      read(function* () {
        const [row, another] = yield* starting.all(idStart, idStart);
        return another === undefined ? toEnrollment(row) : undefined;
      }),
    findEnrollmentByCode: (codeHash) =>
      read(function* () {
        return toEnrollment(yield* byCode.get(codeHash));
      }),
    listEnrollments: ({ before, limit }) =>
      read(function* () {
        const sequence =
          before === undefined ? Number.MAX_SAFE_INTEGER : ((yield* find.get(before))?.sequence ?? 0);
        return (yield* list.all(sequence, limit)).map((row) => toEnrollment(row) as EnrollmentRecord);
      }),
    revokeEnrollment: (id, event) =>
      write(function* () {
        if ((yield* revoke.run(event.atMs, id)) === 0) return false;
        yield* record(event);
        return true;
      }),
    setGroupKeys: (id, { primary, secondary }, event) =>
      write(function* () {
        if ((yield* setKeys.run(primary ?? null, secondary ?? null, id)) === 0) return false;
        yield* record(event);
        return true;
      }),
    listGroupKeys: ({ after, limit }) =>
      read(function* () {
        return (yield* withKeys.all(after, limit)).flatMap((row) => {
          const { id, groupKeys } = toEnrollment(row) as EnrollmentRecord;
          return groupKeys === undefined ? [] : [{ id, groupKeys }];
        });
      }),
    allowClients: (id, clientIds, event) =>
      write(function* () {
        if ((yield* find.get(id)) === undefined) return false;
        yield* allow.runEach(clientIds.map((clientId) => [id, clientId]));
        yield* record(event);
        return true;
      }),
    isAllowed: (id, clientId) =>
      read(function* () {
        return (yield* isAllowed.get(id, clientId)) !== undefined;
      }),
    findRequestOfDevice: (enrollmentId, deviceHash) =>
      read(function* () {
        return toRequest(yield* requestOfDevice.get(enrollmentId, deviceHash));
      }),
    findRequest: (id) =>
      read(function* () {
        return toRequest(yield* findRequest.get(id));
      }),
    listRequests: ({ state, enrollmentId, after, limit }) =>
      read(function* () {
        const sequence =
          after === undefined ? 0 : ((yield* findRequest.get(after))?.sequence ?? Number.MAX_SAFE_INTEGER);
        const query = { after: sequence, state: state ?? null, enrollmentId: enrollmentId ?? null, limit };
        return (yield* listRequests.all(query)).map((row) => toRequest(row) as EnrollmentRequestRecord);
      }),
    recordRequest: (request, admission, event, renews) =>
      write(function* () {
        const recorded = yield* recordRequest(request, admission, event.atMs, renews);
        if (recorded.outcome === 'recorded') yield* record(event);
        return recorded;
      }),
    admitRequest: (id, admission, event) =>
      write(function* (): Act<RequestRecorded> {
        const request = yield* findRequest.get(id);
        const enrollment = request && (yield* find.get(request.enrollment_id));
        if (enrollment === undefined || enrollment.revoked_at_ms !== null) return { outcome: 'closed' };
        if (request?.state !== 'approved') return { outcome: 'known' };
        if (!(yield* admit(enrollment, admission))) return { outcome: 'conflict' };
        yield* setState.run('enrolled', null, event.atMs, id);
        yield* record(event);
        return { outcome: 'recorded' };
      }),
    decideRequest: (id, from, { state, reason }, event) =>
      write(function* () {
        const request = yield* findRequest.get(id);
        if (request === undefined || !from.includes(request.state)) return false;
        yield* setState.run(state, reason ?? null, event.atMs, id);
        yield* record(event);
        return true;
      }),
  };
}

function toEnrollment(row: EnrollmentRow | undefined): EnrollmentRecord | undefined {
  if (row === undefined) return undefined;
  const { primary_key: primary, secondary_key: secondary } = row;
  return {
    id: row.id,
    codeHash: row.code_hash ?? undefined,
    groupKeys: primary === null || secondary === null ? undefined : { primary, secondary },
    template: row.template,
    row: JSON.parse(row.row) as JsonObject,
    maxUses: row.max_uses ?? undefined,
    uses: row.uses,
    expiresAtMs: row.expires_at_ms ?? undefined,
    needsApproval: row.needs_approval === 1,
    replaces: row.replaces === 1,
    revokedAtMs: row.revoked_at_ms ?? undefined,
    createdBy: row.created_by,
    createdAtMs: row.created_at_ms,
  };
}

function toRequest(row: RequestRow | undefined): EnrollmentRequestRecord | undefined {
  if (row === undefined) return undefined;
  return {
    id: row.id,
    enrollmentId: row.enrollment_id,
    deviceHash: row.device_hash,
    state: row.state,
    clientId: row.client_id,
    templateVersion: row.template_version,
    registration: JSON.parse(row.registration) as ClientRegistration & { clientId: string },
    salt: row.salt,
    reason: row.reason ?? undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}
