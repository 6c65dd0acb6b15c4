import type { Template } from '../../fleet/template.ts';
import type {
  FailedRow,
  FleetRegistry,
  JobRecord,
  JobRows,
  JobState,
  RowRecorded,
  RowsRecorded,
} from '../fleet-registry.ts';
import { clients } from './clients.ts';
import { type Act, sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

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

const insert = sql<Value[]>(`
  INSERT INTO provisioning_jobs (id, template_name, template_version, template, key_hash, source, total, start, state,
    next_row, created, failed, created_by, created_at_ms, updated_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const find = sql<[id: string], JobRowOfTable>('SELECT * FROM provisioning_jobs WHERE id = ?');
const list = sql<[sequence: number, limit: number], JobRowOfTable>(
  'SELECT * FROM provisioning_jobs WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
);
const cancel = sql<[atMs: number, id: string]>(
  "UPDATE provisioning_jobs SET state = 'cancelled', updated_at_ms = ? WHERE id = ? AND state = 'running'",
);
const advance = sql<[nextRow: number, created: number, failed: number, JobState, atMs: number, id: string]>(`
  UPDATE provisioning_jobs SET next_row = ?, created = created + ?, failed = failed + ?, state = ?, updated_at_ms = ?
  WHERE id = ?`);
const putFailure = sql<[jobId: string, row: number, code: string, description: string]>(`
  INSERT INTO provisioning_failures (job_id, row, code, description) VALUES (?, ?, ?, ?)
  ON CONFLICT (job_id, row) DO UPDATE SET code = excluded.code, description = excluded.description`);
const failedIn = sql<[jobId: string, from: number, until: number], { row: number }>(
  'SELECT row FROM provisioning_failures WHERE job_id = ? AND row >= ? AND row < ?',
);
const removeFailure = sql<[jobId: string, row: number]>(
  'DELETE FROM provisioning_failures WHERE job_id = ? AND row = ?',
);
const failures = sql<[jobId: string, after: number, limit: number], FailedRow>(`
  SELECT row, code, description FROM provisioning_failures WHERE job_id = ? AND row > ? ORDER BY row LIMIT ?`);

/** The acts on provisioning jobs. */
export function jobActs({ read, write, record }: Store): JobActs {
  /** All rows together, so that a store that is far away is asked few times. */
  function* outcomes({ jobId, firstRow, rows }: JobRows): Act<RowRecorded[]> {
    const before = yield* clients.findOfJob(
      jobId,
      rows.map((_, i) => firstRow + i),
    );
    const isNew = rows.map((row, i) => 'client' in row && before[i] === undefined);
    const made = yield* clients.insert(
      rows.flatMap((row, i) => ('client' in row && isNew[i] ? [row.client] : [])),
    );
    return rows.map((row, i): RowRecorded => {
      const client = before[i];
      if (client !== undefined) return { outcome: 'repeated', client };
      if ('failure' in row) return { outcome: 'failed', failure: row.failure };
      if (made.shift() !== undefined) return { outcome: 'created' };
      const description = `client '${row.client.clientId}' is registered already`;
      return { outcome: 'failed', failure: { code: 'registry_conflict', description } };
    });
  }

  function* recordRows(asked: JobRows): Act<RowsRecorded> {
    const { jobId, firstRow, rows, atMs } = asked;
    const job = toJob(yield* find.get(jobId));
    if (job === undefined) return { outcome: 'job_unknown' };
    if (job.state === 'cancelled' || firstRow > job.nextRow) return { outcome: 'refused', job };
    const next = firstRow + rows.length;
    const failedBefore = new Set((yield* failedIn.all(jobId, firstRow, next)).map(({ row }) => row));
    const recorded = yield* outcomes(asked);
    const succeeded: number[] = [];
    const failing: [jobId: string, row: number, code: string, description: string][] = [];
    let [created, failed] = [0, 0];
    for (const [i, result] of recorded.entries()) {
      const number = firstRow + i;
      const { event } = rows[i] as JobRows['rows'][number];
      const isRetried = failedBefore.has(number);
      if (result.outcome === 'created') {
        created += 1;
        if (isRetried) succeeded.push(number);
        yield* record(event);
      } else if (result.outcome === 'failed') {
        const { code, description } = result.failure;
        if (!isRetried) {
          failed += 1;
          yield* record({ ...event, result: code });
        }
        failing.push([jobId, number, code, description]);
      }
    }
    yield* removeFailure.runEach(succeeded.map((number) => [jobId, number]));
    yield* putFailure.runEach(failing);
    const nextRow = Math.max(job.nextRow, next);
    const state = nextRow > job.total ? 'done' : job.state;
    yield* advance.run(nextRow, created, failed - succeeded.length, state, atMs, jobId);
    return { outcome: 'recorded', job: toJob(yield* find.get(jobId)) as JobRecord, rows: recorded };
  }

  return {
    createJob: (job, event) =>
      write(function* () {
        const { template } = job;
        yield* insert.run(
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
        yield* record(event);
      }),
    findJob: (id) =>
      read(function* () {
        return toJob(yield* find.get(id));
      }),
    listJobs: ({ before, limit }) =>
      read(function* () {
        const sequence =
          before === undefined ? Number.MAX_SAFE_INTEGER : ((yield* find.get(before))?.sequence ?? 0);
        return (yield* list.all(sequence, limit)).map((row) => toJob(row) as JobRecord);
      }),
    cancelJob: (id, event) =>
      write(function* () {
        if ((yield* cancel.run(event.atMs, id)) === 0) return false;
        yield* record(event);
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
