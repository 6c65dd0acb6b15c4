import type { Template } from '../../fleet/template.ts';
import type {
  FailedRow,
  FleetRegistry,
  JobRecord,
  JobRow,
  JobRows,
  JobState,
  RowRecorded,
  RowsRecorded,
} from '../fleet-registry.ts';
import type { Acts } from './acts.ts';
import type { ClientStatements } from './clients.ts';
import type { Database } from './database.ts';

interface JobRowOfTable {
  sequence: number;
  id: string;
  template_name: string;
  template_version: number;
  template: string;
  key_hash: Buffer;
  source: string | null;
  total: number;
  start: number;
  state: JobState;
  next_row: number;
  created: number;
  failed: number;
  created_by: string;
  created_at_ms: number;
  updated_at_ms: number;
}

type JobActs = Pick<
  FleetRegistry,
  'createJob' | 'findJob' | 'listJobs' | 'cancelJob' | 'recordRows' | 'listFailedRows'
>;

/** The acts on provisioning jobs. */
export function jobActs(
  database: Database,
  clients: ClientStatements,
  { read, write, record }: Acts,
): JobActs {
  const insert = database.prepare<unknown[]>(`
    INSERT INTO provisioning_jobs (id, template_name, template_version, template, key_hash, source, total, start, state,
      next_row, created, failed, created_by, created_at_ms, updated_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const find = database.prepare<[string], JobRowOfTable>('SELECT * FROM provisioning_jobs WHERE id = ?');
  const list = database.prepare<[number, number], JobRowOfTable>(
    'SELECT * FROM provisioning_jobs WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
  );
  const cancel = database.prepare<[number, string]>(
    "UPDATE provisioning_jobs SET state = 'cancelled', updated_at_ms = ? WHERE id = ? AND state = 'running'",
  );
  const advance = database.prepare<unknown[]>(`
    UPDATE provisioning_jobs SET next_row = max(next_row, ?), created = created + ?, failed = failed + ?,
      state = iif(max(next_row, ?) > total, 'done', state), updated_at_ms = ? WHERE id = ?`);
  const putFailure = database.prepare<unknown[]>(`
    INSERT INTO provisioning_failures (job_id, row, code, description) VALUES (?, ?, ?, ?)
    ON CONFLICT (job_id, row) DO UPDATE SET code = excluded.code, description = excluded.description`);
  const hasFailed = database
    .prepare<[string, number], 1>('SELECT 1 FROM provisioning_failures WHERE job_id = ? AND row = ?')
    .pluck();
  const removeFailure = database.prepare<[string, number]>(
    'DELETE FROM provisioning_failures WHERE job_id = ? AND row = ?',
  );
  const failures = database.prepare<[string, number, number], FailedRow>(`
    SELECT row, code, description FROM provisioning_failures WHERE job_id = ? AND row > ? ORDER BY row LIMIT ?`);

  function recordRow(jobId: string, number: number, row: JobRow): RowRecorded {
    const before = clients.findOfJob(jobId, number);
    if (before !== undefined) return { outcome: 'repeated', client: before };
    if ('client' in row && clients.insert(row.client)) {
      record(row.event);
      return { outcome: 'created' };
    }
    const failure =
      'failure' in row
        ? row.failure
        : {
            code: 'registry_conflict',
            description: `client '${row.client.clientId}' is registered already`,
          };
    return { outcome: 'failed', failure };
  }

  function recordRows({ jobId, firstRow, rows, atMs }: JobRows): RowsRecorded {
    const job = toJob(find.get(jobId));
    if (job === undefined) return { outcome: 'job_unknown' };
    if (job.state === 'cancelled' || firstRow > job.nextRow) return { outcome: 'refused', job };
    let [created, failed] = [0, 0];
    const recorded = rows.map((row, i) => {
      const number = firstRow + i;
      const result = recordRow(jobId, number, row);
      if (result.outcome === 'repeated') return result;
      const isRetried = number < job.nextRow && hasFailed.get(jobId, number) === 1;
      if (result.outcome === 'created') {
        created += 1;
        if (isRetried) failed -= removeFailure.run(jobId, number).changes;
        return result;
      }
      const { code, description } = result.failure;
      if (!isRetried) {
        failed += 1;
        record({ ...row.event, result: code });
      }
      putFailure.run(jobId, number, code, description);
      return result;
    });
    const next = firstRow + rows.length;
    advance.run(next, created, failed, next, atMs, jobId);
    return { outcome: 'recorded', job: toJob(find.get(jobId)) as JobRecord, rows: recorded };
  }

  return {
    createJob: (job, event) =>
      write(() => {
        const { template } = job;
        insert.run(
          job.id,
          template.name,
          template.version,
          JSON.stringify({ template: template.template, createdAtMs: template.createdAtMs }),
          job.keyHash,
          job.source ?? null,
          job.total,
          job.start,
          job.state,
          job.nextRow,
          job.created,
          job.failed,
          job.createdBy,
          job.createdAtMs,
          job.updatedAtMs,
        );
        record(event);
      }),
    findJob: (id) => read(() => toJob(find.get(id))),
    listJobs: ({ before, limit }) =>
      read(() => {
        const sequence = before === undefined ? Number.MAX_SAFE_INTEGER : (find.get(before)?.sequence ?? 0);
        return list.all(sequence, limit).map((row) => toJob(row) as JobRecord);
      }),
    cancelJob: (id, event) =>
      write(() => {
        if (cancel.run(event.atMs, id).changes === 0) return false;
        record(event);
        return true;
      }),
    recordRows: (rows) => write(() => recordRows(rows)),
    listFailedRows: (jobId, { after, limit }) => read(() => failures.all(jobId, after, limit)),
  };
}

function toJob(row: JobRowOfTable | undefined): JobRecord | undefined {
  if (row === undefined) return undefined;
  const kept = JSON.parse(row.template) as { template: Template; createdAtMs: number };
  return {
    id: row.id,
    template: { name: row.template_name, version: row.template_version, ...kept },
    keyHash: row.key_hash,
    source: row.source ?? undefined,
    total: row.total,
    start: row.start,
    state: row.state,
    nextRow: row.next_row,
    created: row.created,
    failed: row.failed,
    createdBy: row.created_by,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}
