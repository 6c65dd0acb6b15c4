import { existsSync } from 'node:fs';
import { FleetgateError } from '@fleetgate/shared';
import { type ConnectionOptions, connect } from './connection.ts';
import { databaseOf } from './database.ts';

/** An event as the trail has it on the wire and in an export. */
export interface AuditEventView {
  readonly sequence: number;
  readonly at: string;
  readonly actor: string;
  readonly address?: string;
  readonly action: string;
  readonly target?: string;
  readonly result: string;
  readonly request_id?: string;
  readonly token_id?: string;
  readonly previous_hash: string;
  readonly hash: string;
}

export interface AuditFilter {
  readonly order?: 'oldest' | 'newest';
  readonly actor?: string;
  readonly action?: string;
  readonly target?: string;
  readonly result?: string;
  /** Milliseconds since 1970. */
  readonly fromMs?: number;
  readonly untilMs?: number;
}

/** Where commands read the trail: the admin API, or the database itself, also while no issuer runs on it. */
export interface AuditSource {
  /** What was asked for, from after the event of that number on. */
  events(filter: AuditFilter, after?: number): AsyncGenerator<AuditEventView>;
  close(): Promise<void>;
}

/** Events of one request; the API's own limit. */
const PAGE_SIZE = 1000;

/**
 * The admin API where `--admin-url` names one, else the database of the data directory.
 * @throws UsageError; FleetgateError `registry_unavailable`, `registry_schema_newer`, `key_file_invalid`
 */
export async function openAuditSource(options: ConnectionOptions): Promise<AuditSource> {
  if (options.adminUrl !== undefined) return apiSource(options);
  const { database, isFile } = databaseOf(options);
  if (isFile && !existsSync(database)) {
    throw new FleetgateError(
      'registry_unavailable',
      `there is no database ${database}; name the data directory with --data, a configuration that names another database with --config, or a running issuer with --admin-url`,
    );
  }
  return databaseSource(database);
}

async function apiSource(options: ConnectionOptions): Promise<AuditSource> {
  const { admin } = await connect(options);
  return {
    async *events({ fromMs, untilMs, ...filter }, after) {
      let cursor = after === undefined ? undefined : String(after);
      do {
        const page = await admin.listEvents({
          ...filter,
          limit: String(PAGE_SIZE),
          ...(fromMs === undefined ? {} : { since: new Date(fromMs).toISOString() }),
          ...(untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() }),
          ...(cursor === undefined ? {} : { cursor }),
        });
        yield* page.events;
        cursor = page.next_cursor;
      } while (cursor !== undefined);
    },
    close: async () => undefined,
  };
}

async function databaseSource(database: string): Promise<AuditSource> {
  // Loaded here: the other commands start without a database.
  const { openAuditReader, toAuditView } = await import('@fleetgate/issuer');
  const reader = await openAuditReader(database);
  return {
    async *events(filter, after) {
      let next = after;
      do {
        const page = await reader.search({ ...filter, after: next, limit: PAGE_SIZE });
        for (const event of page.events) yield toAuditView(event);
        next = page.nextAfter;
      } while (next !== undefined);
    },
    close: () => reader.close(),
  };
}
