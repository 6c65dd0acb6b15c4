import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { FleetgateError, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from '../administrative-act.ts';
import type { ShownCredential } from '../client-credential.ts';
import { type ClientsOptions, checkText, makeClient } from '../client-registration.ts';
import type { Administrator } from '../clients.ts';
import type {
  FailedRow,
  JobRecord,
  JobRow,
  RowFailure,
  RowRecorded,
  TemplateRecord,
} from '../registry/fleet-registry.ts';
import type { ClientRecord, NewClientRecord, Registry } from '../registry/registry.ts';
import { isLiveSecret } from '../secrets.ts';
import { DERIVATION_KEY_BYTES, derivedRandom, uuidOf } from './derived-random.ts';
import type { GivenRow } from './device-row.ts';
import { type CompiledTemplate, compileTemplate } from './template.ts';
import type { Templates } from './templates.ts';

/** Rows that one request may bring. */
export const MAX_ROWS = 500;

/** Rows of one act: some 5 ms of the event loop. */
const ROWS_OF_AN_ACT = 50;

/** Rows of one job. Ours: more devices than one registry is made for. */
const MAX_TOTAL = 10_000_000;
const MAX_SOURCE_LENGTH = 256;

/** What became of a row. `row` counts from 1. */
export type RowResult =
  | {
      readonly row: number;
      readonly outcome: 'created';
      readonly client: NewClientRecord;
      readonly shown: ShownCredential;
    }
  | {
      readonly row: number;
      /** It was done before, by the same job. */
      readonly outcome: 'repeated';
      readonly client: ClientRecord;
      /** As it was shown before; unset when that has been replaced or has ended since. */
      readonly shown: ShownCredential | undefined;
    }
  | ({ readonly row: number; readonly outcome: 'failed' } & RowFailure);

/** What a row would make. */
export type RowPreview =
  | { readonly row: number; readonly clientId: string }
  | ({ readonly row: number } & RowFailure);

export interface JobRequest {
  readonly template: string;
  readonly version?: number | undefined;
  readonly total: number;
  /** `{n}` of the first row. Default: 1. */
  readonly start?: number | undefined;
  readonly source?: string | undefined;
}

/**
 * Registers many devices by a template. A job is the sender's to drive: it sends rows in order and, when it did not see
 * the answer, the same rows again, and gets the same clients with the same secrets: they are derived from a key of the
 * job that the sender alone keeps. Each act, done or refused, is in the audit trail before its promise settles.
 */
export interface Provisioning {
  /** With the key of the job, shown this once. @throws FleetgateError `template_unknown`, `invalid_request` */
  create(request: JobRequest, by: Administrator): Promise<{ readonly job: JobRecord; readonly key: string }>;
  /** @throws FleetgateError `job_unknown` */
  find(id: string): Promise<JobRecord>;
  /** From new to old. */
  list(page: { readonly before?: string | undefined; readonly limit: number }): Promise<JobRecord[]>;
  /**
   * Does rows. Rows that were done before are answered again; of one that failed before another try is made.
   * @throws FleetgateError `job_unknown`, `job_conflict` for rows out of order, a cancelled job or another key
   */
  run(
    id: string,
    rows: { readonly key: string; readonly firstRow: number; readonly rows: readonly GivenRow[] },
    by: Administrator,
  ): Promise<{ readonly job: JobRecord; readonly results: readonly RowResult[] }>;
  /** What rows would make of a template; nothing is written. */
  preview(
    template: string,
    rows: { readonly firstRow: number; readonly start: number; readonly rows: readonly GivenRow[] },
  ): Promise<readonly RowPreview[]>;
  /** What it made stays. One that has ended stays as it is. @throws FleetgateError `job_unknown` */
  cancel(id: string, by: Administrator): Promise<JobRecord>;
  /** @throws FleetgateError `job_unknown` */
  failures(id: string, page: { readonly after: number; readonly limit: number }): Promise<FailedRow[]>;
}

export function openProvisioning(
  registry: Registry,
  templates: Templates,
  now: () => number,
  settings: ClientsOptions,
): Provisioning {
  const { event, recorded } = administrativeActs(registry, now);

  async function find(id: string): Promise<JobRecord> {
    const job = await registry.findJob(id);
    if (job === undefined) throw new FleetgateError('job_unknown', 'there is no such job');
    return job;
  }

  /** What a row makes, or why it makes nothing. */
  function make(
    compiled: CompiledTemplate,
    { template: { name, version }, ...job }: Pick<JobRecord, 'id' | 'start' | 'template'>,
    { row, given, key }: { readonly row: number; readonly given: GivenRow; readonly key: Uint8Array },
  ): { client: NewClientRecord; shown: ShownCredential } | { failure: RowFailure } {
    const random = derivedRandom(key, `${job.id} ${row}`);
    try {
      if ('unreadable' in given) throw new OAuthError('invalid_request', given.unreadable);
      const place = {
        number: job.start + row - 1,
        uuid: () => uuidOf(derivedRandom(key, `${job.id} ${row} uuid`)),
      };
      const registration = compiled.fill(given, place, now());
      const { client, shown } = makeClient(registration, settings, now(), random);
      const origin = { template: name, templateVersion: version, job: { id: job.id, row } };
      return { client: { ...client, origin }, shown };
    } catch (error) {
      if (!(error instanceof FleetgateError)) throw error;
      return { failure: { code: error.code, description: error.message } };
    }
  }

  /** What a client was shown, if that is what it still has. */
  function shownAgain(client: ClientRecord, made: ReturnType<typeof make>, before: NewClientRecord) {
    if ('failure' in made) return undefined;
    const [secret] = before.secrets;
    if (secret === undefined) return made.shown;
    const isThere = client.secrets.some(
      (one) => Buffer.compare(one.hash, secret.hash) === 0 && isLiveSecret(one, now()),
    );
    return isThere ? made.shown : undefined;
  }

  async function run(
    job: JobRecord,
    key: Uint8Array,
    firstRow: number,
    rows: readonly GivenRow[],
    by: Administrator,
  ) {
    const compiled = compileTemplate(job.template.template, settings);
    let current = job;
    const results: RowResult[] = [];
    for (let done = 0; done < rows.length; done += ROWS_OF_AN_ACT) {
      const first = firstRow + done;
      const made = rows
        .slice(done, done + ROWS_OF_AN_ACT)
        .map((given, i) => make(compiled, job, { row: first + i, given, key }));
      const written = await registry.recordRows({
        jobId: job.id,
        firstRow: first,
        rows: made.map((one): JobRow => {
          if ('failure' in one) return { ...one, event: event(by, 'client.create', job.id) };
          const { client } = one;
          return { client, event: event(by, 'client.create', client.clientId) };
        }),
        atMs: now(),
      });
      if (written.outcome === 'job_unknown') throw new FleetgateError('job_unknown', 'there is no such job');
      if (written.outcome === 'refused') throw refusalOf(written.job, first);
      current = written.job;
      for (const [i, result] of written.rows.entries()) {
        results.push(resultOf(first + i, result, made[i] as ReturnType<typeof make>));
      }
    }
    return { job: current, results };
  }

  function resultOf(row: number, result: RowRecorded, made: ReturnType<typeof make>): RowResult {
    if (result.outcome === 'failed') return { row, outcome: 'failed', ...result.failure };
    if (result.outcome === 'repeated') {
      const { client } = result;
      return {
        row,
        outcome: 'repeated',
        client,
        shown: 'failure' in made ? undefined : shownAgain(client, made, made.client),
      };
    }
    if ('failure' in made) throw new Error('a row that failed was created');
    return { row, outcome: 'created', ...made };
  }

  return {
    create: ({ template: name, version, total, start = 1, source }, by) =>
      recorded('job.create', undefined, by, async () => {
        if (!isCount(total) || total > MAX_TOTAL)
          invalid(`total must be a whole number from 1 to ${MAX_TOTAL}`);
        if (!Number.isSafeInteger(start) || start < 0) invalid('start must be a whole number from 0');
        if (source !== undefined) checkText('source', source, MAX_SOURCE_LENGTH);
        const template = await templates.find(name, version);
        const key = randomBytes(DERIVATION_KEY_BYTES);
        const id = randomUUID();
        const done = event(by, 'job.create', id);
        const job: JobRecord = {
          id,
          template,
          keyHash: sha256(key),
          source,
          total,
          start,
          state: 'running',
          nextRow: 1,
          created: 0,
          failed: 0,
          createdBy: by.keyName,
          createdAtMs: done.atMs,
          updatedAtMs: done.atMs,
        };
        await registry.createJob(job, done);
        return { job, key: key.toString('base64url') };
      }),
    find,
    list: (page) => registry.listJobs(page),
    async run(id, { key, firstRow, rows }, by) {
      const job = await find(id);
      const bytes = Buffer.from(key, 'base64url');
      if (!timingSafeEqual(sha256(bytes), job.keyHash)) {
        throw new FleetgateError(
          'job_conflict',
          'this is not the key of the job, which its creation answered',
        );
      }
      if (!isCount(firstRow)) invalid('first_row must be a whole number from 1');
      if (rows.length > MAX_ROWS) invalid(`a request may bring at most ${MAX_ROWS} rows`);
      if (firstRow + rows.length - 1 > job.total) {
        throw new FleetgateError('job_conflict', `the job has ${job.total} rows, and there are more here`);
      }
      if (job.state === 'cancelled' || firstRow > job.nextRow) throw refusalOf(job, firstRow);
      return run(job, bytes, firstRow, rows, by);
    },
    async preview(name, { firstRow, start, rows }) {
      if (rows.length > MAX_ROWS) invalid(`a request may bring at most ${MAX_ROWS} rows`);
      const template: TemplateRecord = await templates.find(name);
      const compiled = compileTemplate(template.template, settings);
      const job = { id: '', start, template };
      const key = randomBytes(DERIVATION_KEY_BYTES);
      const made = rows.map((given, i) => make(compiled, job, { row: firstRow + i, given, key }));
      const ids = new Map<string, number>();
      return Promise.all(
        made.map(async (one, i): Promise<RowPreview> => {
          const row = firstRow + i;
          if ('failure' in one) return { row, ...one.failure };
          const { clientId } = one.client;
          const earlier = ids.get(clientId);
          ids.set(clientId, earlier ?? row);
          const isTaken = (await registry.findClient(clientId)) !== undefined;
          if (earlier === undefined && !isTaken) return { row, clientId };
          const why = earlier === undefined ? 'is registered already' : `is that of row ${earlier} too`;
          return { row, code: 'registry_conflict', description: `client '${clientId}' ${why}` };
        }),
      );
    },
    cancel: (id, by) =>
      recorded('job.cancel', id, by, async () => {
        await find(id);
        await registry.cancelJob(id, event(by, 'job.cancel', id));
        return find(id);
      }),
    async failures(id, page) {
      await find(id);
      return registry.listFailedRows(id, page);
    },
  };
}

function refusalOf({ state, nextRow }: JobRecord, firstRow: number): FleetgateError {
  return new FleetgateError(
    'job_conflict',
    state === 'cancelled'
      ? 'the job has been cancelled'
      : `the job is at row ${nextRow}; rows are to come in order, and these begin at ${firstRow}`,
  );
}

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 1;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
