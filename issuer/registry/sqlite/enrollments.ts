import { clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { ClientRegistration } from '../../clients.ts';
import type {
  Admission,
  EnrollmentRecord,
  EnrollmentRegistry,
  EnrollmentRequestRecord,
  RequestRecorded,
  RequestState,
} from '../enrollment-registry.ts';
import type { JsonObject } from '../registry.ts';
import type { Acts } from './acts.ts';
import type { ClientRevoker } from './client-changes.ts';
import type { ClientSecretStatements } from './client-secrets.ts';
import type { ClientStatements } from './clients.ts';
import type { Database } from './database.ts';

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

/** The acts on enrollments. */
export function enrollmentActs(
  database: Database,
  clients: ClientStatements,
  secrets: ClientSecretStatements,
  { revokeClient }: ClientRevoker,
  { read, write, record }: Acts,
): EnrollmentRegistry {
  const insert = database.prepare<unknown[]>(`
    INSERT INTO enrollments (id, code_hash, primary_key, secondary_key, template, row, max_uses, uses, expires_at_ms,
      needs_approval, replaces, revoked_at_ms, created_by, created_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const find = database.prepare<[string], EnrollmentRow>('SELECT * FROM enrollments WHERE id = ?');
  const byCode = database.prepare<[Uint8Array], EnrollmentRow>(
    'SELECT * FROM enrollments WHERE code_hash = ?',
  );
  // Every character of an id is smaller than ~.
  const starting = database.prepare<[string, string], EnrollmentRow>(
    "SELECT * FROM enrollments WHERE id >= ? AND id < ? || '~' AND primary_key IS NOT NULL LIMIT 2",
  );
  const list = database.prepare<[number, number], EnrollmentRow>(
    'SELECT * FROM enrollments WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
  );
  const revoke = database.prepare<[number, string]>(
    'UPDATE enrollments SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL',
  );
  const setKeys = database.prepare<[Uint8Array | null, Uint8Array | null, string]>(`
    UPDATE enrollments SET primary_key = coalesce(?, primary_key), secondary_key = coalesce(?, secondary_key)
    WHERE id = ? AND primary_key IS NOT NULL`);
  const withKeys = database.prepare<[string, number], EnrollmentRow>(
    'SELECT * FROM enrollments WHERE primary_key IS NOT NULL AND id > ? ORDER BY id LIMIT ?',
  );
  const use = database.prepare<[string]>('UPDATE enrollments SET uses = uses + 1 WHERE id = ?');
  const allow = database.prepare<[string, string]>(
    'INSERT INTO enrollment_allowed (enrollment_id, client_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
  );
  const isAllowed = database
    .prepare<[string, string], 1>(
      'SELECT 1 FROM enrollment_allowed WHERE enrollment_id = ? AND client_id = ?',
    )
    .pluck();
  const insertRequest = database.prepare<unknown[]>(`
    INSERT INTO enrollment_requests (id, enrollment_id, device_hash, state, client_id, template_version, registration,
      salt, reason, created_at_ms, updated_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const removeRequest = database.prepare<[string, Uint8Array]>(
    'DELETE FROM enrollment_requests WHERE enrollment_id = ? AND device_hash = ?',
  );
  const requestOfDevice = database.prepare<[string, Uint8Array], RequestRow>(
    'SELECT * FROM enrollment_requests WHERE enrollment_id = ? AND device_hash = ?',
  );
  const findRequest = database.prepare<[string], RequestRow>(
    'SELECT * FROM enrollment_requests WHERE id = ?',
  );
  const listRequests = database.prepare<object, RequestRow>(`
    SELECT * FROM enrollment_requests
    WHERE sequence > @after AND (@state IS NULL OR state = @state)
      AND (@enrollmentId IS NULL OR enrollment_id = @enrollmentId)
    ORDER BY sequence LIMIT @limit`);
  const setState = database.prepare<unknown[]>(
    'UPDATE enrollment_requests SET state = ?, reason = ?, updated_at_ms = ? WHERE id = ?',
  );
  const setAuthParameters = database.prepare<[string, number, number]>(
    'UPDATE clients SET auth_parameters = ?, updated_at_ms = ? WHERE registration = ?',
  );

  /** Makes the client, or gives one that the template made before new credentials. Whether that may be. */
  function admit({ template, replaces }: EnrollmentRow, { client, revocation, events }: Admission): boolean {
    const before = clients.find(client.clientId);
    if (before === undefined) {
      if (!clients.insert(client)) return false;
      record(events.created);
      return true;
    }
    const isOurs = before.origin?.template === template && before.authMethod === client.authMethod;
    // Who was taken out of service does not come back by another door.
    if (replaces === 0 || !isOurs || before.quarantine !== undefined) return false;
    const [secret] = client.secrets;
    const { atMs } = events.replaced;
    if (secret === undefined) {
      const parameters = JSON.stringify(clientAuthParametersOf(client));
      setAuthParameters.run(parameters, atMs, before.registration);
    } else {
      const rotation = { clientId: client.clientId, secret, olderEndAtMs: atMs, olderEndOnSuccession: false };
      if (secrets.rotate(before.registration, rotation) === undefined) return false;
    }
    revokeClient(revocation, atMs);
    clients.countChange(before.registration);
    record(events.replaced);
    return true;
  }

  function recordRequest(
    request: EnrollmentRequestRecord,
    admission: Admission | undefined,
    atMs: number,
    renews: boolean,
  ): RequestRecorded {
    const enrollment = find.get(request.enrollmentId);
    if (enrollment === undefined || enrollment.revoked_at_ms !== null) return { outcome: 'closed' };
    if (enrollment.expires_at_ms !== null && enrollment.expires_at_ms <= atMs) return { outcome: 'closed' };
    const isKnown = requestOfDevice.get(request.enrollmentId, request.deviceHash) !== undefined;
    if (isKnown && !renews) return { outcome: 'known' };
    if (enrollment.max_uses !== null && enrollment.uses >= enrollment.max_uses)
      return { outcome: 'exhausted' };
    if (admission !== undefined && !admit(enrollment, admission)) return { outcome: 'conflict' };
    if (isKnown) removeRequest.run(request.enrollmentId, request.deviceHash);
    insertRequest.run(
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
    use.run(request.enrollmentId);
    return { outcome: 'recorded' };
  }

  return {
    createEnrollment: (enrollment, event) =>
      write(() => {
        insert.run(
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
        record(event);
      }),
    findEnrollment: (id) => read(() => toEnrollment(find.get(id))),
    findEnrollmentStarting: (idStart) =>
      read(() => {
        const [row, another] = starting.all(idStart, idStart);
        return another === undefined ? toEnrollment(row) : undefined;
      }),
    findEnrollmentByCode: (codeHash) => read(() => toEnrollment(byCode.get(codeHash))),
    listEnrollments: ({ before, limit }) =>
      read(() => {
        const sequence = before === undefined ? Number.MAX_SAFE_INTEGER : (find.get(before)?.sequence ?? 0);
        return list.all(sequence, limit).map((row) => toEnrollment(row) as EnrollmentRecord);
      }),
    revokeEnrollment: (id, event) =>
      write(() => {
        if (revoke.run(event.atMs, id).changes === 0) return false;
        record(event);
        return true;
      }),
    setGroupKeys: (id, { primary, secondary }, event) =>
      write(() => {
        if (setKeys.run(primary ?? null, secondary ?? null, id).changes === 0) return false;
        record(event);
        return true;
      }),
    listGroupKeys: ({ after, limit }) =>
      read(() =>
        withKeys.all(after, limit).flatMap((row) => {
          const { id, groupKeys } = toEnrollment(row) as EnrollmentRecord;
          return groupKeys === undefined ? [] : [{ id, groupKeys }];
        }),
      ),
    allowClients: (id, clientIds, event) =>
      write(() => {
        if (find.get(id) === undefined) return false;
        for (const clientId of clientIds) allow.run(id, clientId);
        record(event);
        return true;
      }),
    isAllowed: (id, clientId) => read(() => isAllowed.get(id, clientId) === 1),
    findRequestOfDevice: (enrollmentId, deviceHash) =>
      read(() => toRequest(requestOfDevice.get(enrollmentId, deviceHash))),
    findRequest: (id) => read(() => toRequest(findRequest.get(id))),
    listRequests: ({ state, enrollmentId, after, limit }) =>
      read(() => {
        const sequence =
          after === undefined ? 0 : (findRequest.get(after)?.sequence ?? Number.MAX_SAFE_INTEGER);
        const query = { after: sequence, state: state ?? null, enrollmentId: enrollmentId ?? null, limit };
        return listRequests.all(query).map((row) => toRequest(row) as EnrollmentRequestRecord);
      }),
    recordRequest: (request, admission, event, renews) =>
      write(() => {
        const recorded = recordRequest(request, admission, event.atMs, renews);
        if (recorded.outcome === 'recorded') record(event);
        return recorded;
      }),
    admitRequest: (id, admission, event) =>
      write((): RequestRecorded => {
        const request = findRequest.get(id);
        const enrollment = request && find.get(request.enrollment_id);
        if (enrollment === undefined || enrollment.revoked_at_ms !== null) return { outcome: 'closed' };
        if (request?.state !== 'approved') return { outcome: 'known' };
        if (!admit(enrollment, admission)) return { outcome: 'conflict' };
        setState.run('enrolled', null, event.atMs, id);
        record(event);
        return { outcome: 'recorded' };
      }),
    decideRequest: (id, from, { state, reason }, event) =>
      write(() => {
        const request = findRequest.get(id);
        if (request === undefined || !from.includes(request.state)) return false;
        setState.run(state, reason ?? null, event.atMs, id);
        record(event);
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
