import { readFileSync } from 'node:fs';
import { FleetgateError, secretVariable } from '@fleetgate/shared';
import pg from 'pg';
import type { PostgresPlace } from './place.ts';

/** Connections of a pool. */
const MAX_CONNECTIONS = 10;

/** How long to wait for a connection, a new one or one that is free. */
const CONNECT_TIMEOUT_MS = 5000;

/** How long an act waits for its turn among all issuers. */
const LOCK_TIMEOUT_MS = 5000;

/** How long one statement may take, at the server; the client gives up a little later, also where no answer comes. */
const STATEMENT_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 12_000;

/** How long the server keeps the turn of an issuer that has gone silent. */
const IDLE_IN_TRANSACTION_MS = 10_000;

/** 64 bits as a number: none of ours goes beyond safe integers. */
const int8 = 20;
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8 && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

function clientConfig({ connectionString, schema }: PostgresPlace): pg.ClientConfig {
  return {
    connectionString: withPassword(connectionString),
    options: `-c search_path=${schema}`,
    application_name: 'fleetgate',
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    types,
  };
}

/** The driver reads PGPASSWORD by itself, and beside a URL no other `password` than the one in it. */
function withPassword(connectionString: string): string {
  const password = secretVariable('PGPASSWORD', process.env, (file) => readFileSync(file, 'utf8'));
  const url = new URL(connectionString);
  if (password === undefined || url.password !== '') return connectionString;
  // Its setter leaves a percent sign as it is.
  url.password = encodeURIComponent(password);
  return url.href;
}

/**
 * Connections to the database. One that fails is thrown away; who used it is told. A patient one waits for a statement
 * however long it takes.
 */
export function openPool(
  place: PostgresPlace,
  { isPatient = false, connections = MAX_CONNECTIONS } = {},
): pg.Pool {
  const patience = isPatient ? { statement_timeout: 0, query_timeout: 0 } : {};
  const pool = new pg.Pool({
    ...clientConfig(place),
    ...patience,
    max: connections,
    pipeline: true,
  } as pg.PoolConfig);
  // Of a connection that nobody uses at the moment there is nobody to tell; the next one is new.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** A connection for itself. */
export const openClient = (place: PostgresPlace): pg.Client => new pg.Client(clientConfig(place));

/** Any failure of the database as `registry_unavailable`; other errors as they are. */
export function asRegistryError(error: unknown): unknown {
  if (error instanceof FleetgateError || !(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new FleetgateError(
    'registry_unavailable',
    `the registry does not answer (${code ?? 'connection lost'})`,
    { cause: error },
  );
}

/** Whether what was asked for was at fault, and not the database: also data exceptions and violated constraints. */
export function isOfOneAct(error: unknown): boolean {
  if (!(error instanceof FleetgateError) || error.code !== 'registry_unavailable') return true;
  return error.cause instanceof pg.DatabaseError && /^2[23]/.test(error.cause.code ?? '');
}
