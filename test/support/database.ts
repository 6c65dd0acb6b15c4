import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isPostgresUrl, parsePostgresUrl } from '@fleetgate/issuer';
import Sqlite from 'better-sqlite3';
import pg from 'pg';
import { onTestFinished } from 'vitest';

export type Row = Record<string, string | number | Buffer | null>;

/** A connection beside the issuer to its database, a file or PostgreSQL, until the test ends. */
export interface OtherConnection {
  rows<One = Row>(sql: string): Promise<One[]>;
  execute(sql: string): Promise<void>;
  /** Takes the turn to write, so that the issuer waits for it in vain. */
  holdTurn(): Promise<void>;
  letGo(): Promise<void>;
}

export async function otherConnection(database: string): Promise<OtherConnection> {
  return isPostgresUrl(database) ? postgresConnection(database) : sqliteConnection(database);
}

/** What a query beside the issuer finds. */
export async function rowsOf<One = Row>(database: string, sql: string): Promise<One[]> {
  return (await otherConnection(database)).rows<One>(sql);
}

function sqliteConnection(file: string): OtherConnection {
  const database = new Sqlite(file);
  onTestFinished(() => void database.close());
  return {
    rows: async <One>(sql: string) => database.prepare<[], One>(sql).all(),
    execute: async (sql) => void database.exec(sql),
    holdTurn: async () => void database.exec('BEGIN IMMEDIATE'),
    letGo: async () => void database.exec('ROLLBACK'),
  };
}

const int8 = 20;

async function postgresConnection(url: string): Promise<OtherConnection> {
  const { connectionString, schema } = parsePostgresUrl(url);
  const client = new pg.Client({ connectionString, options: `-c search_path=${schema}` });
  client.setTypeParser(int8, Number);
  await client.connect();
  onTestFinished(() => client.end());
  return {
    rows: async <One>(sql: string) => (await client.query(sql)).rows as One[],
    execute: async (sql) => void (await client.query(sql)),
    // The lock of `postgres/audit-journal.ts`.
    holdTurn: async () =>
      void (await client.query(
        `BEGIN; SELECT pg_advisory_xact_lock(${0x464c5447}, hashtext(current_schema()))`,
      )),
    letGo: async () => void (await client.query('ROLLBACK')),
  };
}

/** All that the database of a directory keeps, by file or by table: for the search for what must not be in it. */
export async function storedBytes(database: string): Promise<[name: string, bytes: Buffer][]> {
  if (!isPostgresUrl(database)) {
    const names = (await readdir(dirname(database))).filter((name) => name.startsWith(basename(database)));
    return Promise.all(
      names.map(
        async (name): Promise<[string, Buffer]> => [name, await readFile(join(dirname(database), name))],
      ),
    );
  }
  const other = await otherConnection(database);
  const tables = await other.rows<{ name: string }>(
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()',
  );
  const stored: [string, Buffer][] = [];
  for (const { name } of tables) {
    const cells = (await other.rows(`SELECT * FROM ${name}`)).flatMap((row) => Object.values(row));
    stored.push([
      name,
      Buffer.concat(cells.map((cell) => (Buffer.isBuffer(cell) ? cell : Buffer.from(String(cell))))),
    ]);
  }
  return stored;
}
