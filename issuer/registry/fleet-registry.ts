import type { AuditEvent } from '../audit.ts';
import type { Selector } from '../fleet/selector.ts';
import type { Template } from '../fleet/template.ts';
import type { ClientRecord, NewClientRecord } from './registry.ts';

/** A template, as one of its versions is kept. */
export interface TemplateRecord {
  readonly name: string;
  /** From 1; the greatest is the one that counts. */
  readonly version: number;
  readonly template: Template;
  readonly createdAtMs: number;
}

/** A page of what a selector selects. */
export interface SelectedClients {
  /** Fewer than asked for also where more follow. */
  readonly clients: ClientRecord[];
  /** Go on behind this client id. Unset: there are no more. */
  readonly reached: string | undefined;
}

export type JobState = 'running' | 'done' | 'cancelled';

/** A provisioning job. Rows are counted from 1. */
export interface JobRecord {
  readonly id: string;
  readonly template: TemplateRecord;
  /** SHA-256 of the key that its secrets are derived from, which is kept nowhere. */
  readonly keyHash: Uint8Array;
  /** Where the rows came from, for people. */
  readonly source: string | undefined;
  readonly total: number;
  /** `{n}` of the first row. */
  readonly start: number;
  readonly state: JobState;
  /** All rows before it are done. */
  readonly nextRow: number;
  readonly created: number;
  readonly failed: number;
  /** Name of the API key that began it. */
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** One row of a job, as it is to be recorded, with its audit event. */
export type JobRow =
  | { readonly client: NewClientRecord; readonly event: AuditEvent }
  | { readonly failure: RowFailure; readonly event: AuditEvent };

export interface RowFailure {
  readonly code: string;
  /** For people; holds no secret. */
  readonly description: string;
}

export interface FailedRow extends RowFailure {
  readonly row: number;
}

/** Rows of a job that follow each other. */
export interface JobRows {
  readonly jobId: string;
  readonly firstRow: number;
  readonly rows: readonly JobRow[];
  readonly atMs: number;
}

/** What became of a row. */
export type RowRecorded =
  | { readonly outcome: 'created' }
  /** The row was done before; with the client it made. */
  | { readonly outcome: 'repeated'; readonly client: ClientRecord }
  | { readonly outcome: 'failed'; readonly failure: RowFailure };

/** What became of rows. Whatever but `recorded` means that nothing was written. */
export type RowsRecorded =
  | { readonly outcome: 'recorded'; readonly job: JobRecord; readonly rows: readonly RowRecorded[] }
  /** Rows before `firstRow` are missing, or it has been cancelled. */
  | { readonly outcome: 'refused'; readonly job: JobRecord }
  | { readonly outcome: 'job_unknown' };

/** What the registry keeps of fleets beside their clients. As to durability see `Registry`. */
export interface FleetRegistry {
  /** Clients in the order of their ids; a bounded part of the registry is looked through at a time. */
  selectClients(page: {
    readonly selector: Selector;
    /** What its times are seen from, in milliseconds since 1970. */
    readonly nowMs: number;
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<SelectedClients>;
  /** How many of those behind `after`, as far as one look reaches. */
  countClients(page: {
    readonly selector: Selector;
    readonly nowMs: number;
    readonly after?: string | undefined;
  }): Promise<{ readonly count: number; readonly reached: string | undefined }>;
  /**
   * Keeps a new version of a template, unless the newest is the same: then nothing is written. `full` when there are
   * `maxTemplates` of other names.
   */
  putTemplate(
    template: Omit<TemplateRecord, 'version'>,
    maxTemplates: number,
    event: AuditEvent,
  ): Promise<{ readonly outcome: 'created' | 'unchanged'; readonly version: number } | { outcome: 'full' }>;
  /** The newest version unless one is named. */
  findTemplate(name: string, version?: number): Promise<TemplateRecord | undefined>;
  /** The newest version of each, by name. */
  listTemplates(): Promise<TemplateRecord[]>;
  /** Forgets all versions; what they made stays. Whether there was one; `false` with nothing written. */
  deleteTemplate(name: string, event: AuditEvent): Promise<boolean>;
  createJob(job: JobRecord, event: AuditEvent): Promise<void>;
  findJob(id: string): Promise<JobRecord | undefined>;
  /** From new to old; those older than `before`. */
  listJobs(page: { readonly before?: string | undefined; readonly limit: number }): Promise<JobRecord[]>;
  /** Whether it ran; `false` with nothing written. */
  cancelJob(id: string, event: AuditEvent): Promise<boolean>;
  /** Does rows, each once: of a row that was done before nothing is written. */
  recordRows(rows: JobRows): Promise<RowsRecorded>;
  /** In the order of the rows, those behind `after`. */
  listFailedRows(
    jobId: string,
    page: { readonly after: number; readonly limit: number },
  ): Promise<FailedRow[]>;
}
