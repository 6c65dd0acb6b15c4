import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Credentials, FleetgateError } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import type { JobView } from '../fleet-client.ts';
import { deriveKeyPair } from '../key-pair.ts';
import { append, type CredentialSink, directorySink, lineSink, openAt } from './credential-sink.ts';
import { countedRows, fileRows, type LinedRow, type RowSource, surveyRows } from './device-rows.ts';
import { encryptTo } from './encryption.ts';
import { failuresFileOf, hasJobFile, type JobState, removeJobFile, writeJobFile } from './job-file.ts';
import type { Progress } from './progress.ts';
import { authOf, credentialsFor, type FailedRow, failureLines, whyOf, withKey } from './provisioned-row.ts';

/** Rows of one request: the API's own limit is 500, and a body may have a megabyte. */
const BATCH_ROWS = 500;
const BATCH_BYTES = 900_000;

/** Tries of a request that is not answered, and the wait before the first of them; it doubles up to the longest. */
const MAX_TRIES = 8;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8000;

export interface ProvisionRequest {
  readonly template: string;
  readonly source: { readonly from: string } | { readonly count: number };
  readonly start: number | undefined;
  readonly out: string;
  readonly isDirectory: boolean;
  readonly encryptTo: string | undefined;
  readonly brokerUrl: string | undefined;
  readonly adminUrl: string;
}

export interface ProvisionWatch {
  /** Called when the job and its rows are known. */
  readonly begin: (job: { readonly total: number; readonly done: number }) => Progress;
  /** Whether to stop after what is under way. */
  readonly isStopped?: () => boolean;
}

export interface Provisioned {
  readonly job: JobView;
  /** Unset when no row failed. */
  readonly failuresFile: string | undefined;
  readonly isStopped: boolean;
}

/**
 * Begins a job and does its rows. The rows are read once before anything is made, so that a file that cannot be read is
 * no half-done job.
 * @throws UsageError; FleetgateError as the admin API refuses
 */
export async function provision(
  admin: AdminClient,
  request: ProvisionRequest,
  watch: ProvisionWatch,
): Promise<Provisioned> {
  const { out } = request;
  if (hasJobFile(out)) {
    throw new UsageError(
      `a job that writes to ${out} has not ended; go on with: fleetgate fleet resume --out ${out}`,
    );
  }
  if (!request.isDirectory && existsSync(out)) {
    throw new UsageError(`${out} is there already; remove it or name another file with --out`);
  }
  const source = openSource(request.source);
  const failuresFile = failuresFileOf(out, source.format);
  if (existsSync(failuresFile)) {
    throw new UsageError(
      `${failuresFile} is there already, with the failures of a job before; rename or remove it`,
    );
  }
  const { total, digest } = await surveyRows(source);
  const { version, template } = await admin.getTemplate(request.template);
  // Before anything is made that could not be written.
  const encrypt = request.encryptTo === undefined ? undefined : encryptTo(request.encryptTo);
  const sink = await openSink({ out, is_directory: request.isDirectory, out_bytes: 0 }, encrypt);
  await sink.close();
  const newJob = {
    template: request.template,
    version,
    total,
    source: source.name.slice(-256),
    ...(request.start !== undefined && { start: request.start }),
  };
  const { job_key, ...job } = await admin.createJob(newJob).catch((error: unknown) => {
    // Nothing is in it, and it would stand in the way of another try.
    if (!request.isDirectory) rmSync(out, { force: true });
    throw error;
  });
  const state: JobState = {
    version: 1,
    job_id: job.job_id,
    job_key,
    pair_key: randomBytes(32).toString('base64url'),
    auth_method: String(template['auth_method'] ?? 'client_secret_basic'),
    admin_url: request.adminUrl,
    source: request.source,
    digest,
    total,
    out: resolve(out),
    is_directory: request.isDirectory,
    ...(request.encryptTo !== undefined && { encrypt_to: resolve(request.encryptTo) }),
    ...(request.brokerUrl !== undefined && { broker_url: request.brokerUrl }),
    next_row: 1,
    out_bytes: 0,
    failures_bytes: 0,
    created: 0,
    failed: 0,
  };
  writeJobFile(state);
  return run(admin, source, state, watch);
}

/**
 * Goes on where a job stopped.
 * @throws UsageError where its rows are not those it began with; FleetgateError as the admin API refuses
 */
export async function resume(
  admin: AdminClient,
  state: JobState,
  watch: ProvisionWatch,
): Promise<Provisioned> {
  const source = openSource(state.source);
  const { total, digest } = await surveyRows(source);
  if (total !== state.total || digest !== state.digest) {
    throw new UsageError(
      `${source.name} has changed since the job began; put back what it was, or cancel the job`,
    );
  }
  return run(admin, source, state, watch);
}

async function run(
  admin: AdminClient,
  source: RowSource,
  begun: JobState,
  watch: ProvisionWatch,
): Promise<Provisioned> {
  const encrypt = begun.encrypt_to === undefined ? undefined : encryptTo(begun.encrypt_to);
  const issuer = await admin.issuerUrl();
  const makesKeys = begun.auth_method === 'private_key_jwt';
  const coapEndpoint = begun.auth_method === 'oscore' ? await admin.coapTokenEndpoint() : undefined;
  const sink = await openSink(begun, encrypt);
  const failuresFile = failuresFileOf(begun.out, source.format);
  const progress = watch.begin({ total: begun.total, done: begun.next_row - 1 });
  let state = begun;
  let failures: FileHandle | undefined;
  let isStopped = false;
  const stateKey = Buffer.from(begun.pair_key, 'base64url');
  const pairOf = (row: number) => deriveKeyPair(stateKey, String(row));

  try {
    for await (const batch of batches(source, state.next_row)) {
      if (watch.isStopped?.() === true) {
        isStopped = true;
        break;
      }
      const first_row = state.next_row;
      const rows = batch.map(({ row }, i) => (makesKeys ? withKey(row, pairOf, first_row + i) : row));
      const { results } = await withRetries(() =>
        admin.runRows(state.job_id, { job_key: state.job_key, first_row, rows }),
      );
      const credentials: Credentials[] = [];
      const failed: FailedRow[] = [];
      for (const [i, result] of results.entries()) {
        const { line, row } = batch[i] as LinedRow;
        const made = result.outcome === 'failed' ? undefined : authOf(result, row, pairOf);
        if (made === undefined) failed.push({ line, row, why: whyOf(result) });
        else credentials.push(credentialsFor(result, made, { issuer, coapEndpoint, state }));
      }
      if (failed.length > 0) failures ??= await openAt(failuresFile, state.failures_bytes);
      const outBytes = await sink.write(credentials);
      const more =
        failures === undefined
          ? 0
          : await append(
              failures,
              state.failures_bytes,
              failureLines(failed, source, state.failures_bytes === 0),
            );
      state = {
        ...state,
        next_row: first_row + batch.length,
        out_bytes: outBytes,
        failures_bytes: state.failures_bytes + more,
        created: state.created + credentials.length,
        failed: state.failed + failed.length,
      };
      writeJobFile(state);
      progress.update(state.next_row - 1, state.failed);
    }
  } finally {
    progress.stop();
    await sink.close();
    await failures?.close();
  }
  if (!isStopped) removeJobFile(state);
  return {
    job: await admin.getJob(state.job_id),
    failuresFile: state.failed > 0 ? failuresFile : undefined,
    isStopped,
  };
}

export function openSource(source: ProvisionRequest['source']): RowSource {
  return 'count' in source ? countedRows(source.count) : fileRows(source.from);
}

function openSink(
  { out, is_directory, out_bytes }: Pick<JobState, 'out' | 'is_directory' | 'out_bytes'>,
  encrypt: ReturnType<typeof encryptTo> | undefined,
): Promise<CredentialSink> {
  return is_directory ? directorySink(out, encrypt) : lineSink(out, out_bytes, encrypt);
}

/** The rows from a number on, as many at a time as one request takes. */
export async function* batches(source: RowSource, firstRow = 1): AsyncGenerator<LinedRow[]> {
  let batch: LinedRow[] = [];
  let bytes = 0;
  let number = 0;
  for await (const one of source.rows()) {
    number += 1;
    if (number < firstRow) continue;
    const size = Buffer.byteLength(JSON.stringify(one.row)) + 400;
    if (batch.length === BATCH_ROWS || (batch.length > 0 && bytes + size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

/** Asks again while the issuer is away or busy. */
export async function withRetries<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = error instanceof FleetgateError && error.code === 'registry_unavailable';
      if (!isPassing || attempt === MAX_TRIES) throw error;
      await sleep(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1)));
    }
  }
}
