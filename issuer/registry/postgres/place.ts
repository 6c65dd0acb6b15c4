import { FleetgateError } from '@fleetgate/shared';

/** Default of `?schema=`. */
const DEFAULT_SCHEMA = 'fleetgate';

/** Ours: what needs no quotes, with room for the name of an app. */
const schemaPattern = /^[a-z_][a-z0-9_]{0,30}$/;

/** Where a registry is in PostgreSQL. */
export interface PostgresPlace {
  readonly connectionString: string;
  /** All tables are in it; it is made where there is none. */
  readonly schema: string;
  /** For people: without user and password. */
  readonly name: string;
}

/** Whether it names a PostgreSQL database, and not a file. */
export const isPostgresUrl = (database: string): boolean => /^postgres(ql)?:\/\//.test(database);

/**
 * `postgres://user@host:port/database?schema=…`; what else is in the query is the driver's (`sslmode`, `sslrootcert`).
 * @throws FleetgateError `config_invalid`; the message holds no password
 */
export function parsePostgresUrl(database: string): PostgresPlace {
  if (!URL.canParse(database)) throw new FleetgateError('config_invalid', 'database is not a URL');
  const url = new URL(database);
  const schema = url.searchParams.get('schema') ?? DEFAULT_SCHEMA;
  if (!schemaPattern.test(schema)) {
    throw new FleetgateError(
      'config_invalid',
      `database: schema '${schema}' is not a name of lower-case letters, digits and _, 31 at most`,
    );
  }
  url.searchParams.delete('schema');
  return {
    connectionString: url.href,
    schema,
    name: `postgres://${url.host}${url.pathname} (schema ${schema})`,
  };
}
