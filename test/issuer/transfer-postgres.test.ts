import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { openAuditReader } from '../../issuer/registry/audit-reader.ts';
import { openPostgresRegistry } from '../../issuer/registry/postgres/registry.ts';
import { backupDatabase } from '../../issuer/registry/sqlite/backup.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { restoreDatabase } from '../../issuer/registry/sqlite/restore.ts';
import { carriedTables } from '../../issuer/registry/transfer/tables.ts';
import { transferToPostgres } from '../../issuer/registry/transfer/to-postgres.ts';
import { hashSecret, unusedSecret } from '../../issuer/secrets.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';
import { client, event, NOW, ofClient } from './registry-contract.ts';
import { putKeys, signingKey } from './signing-key-contract.ts';

const bytes = (fill: number, length = 32) => new Uint8Array(length).fill(fill);
const NOW_MS = NOW * 1000;

let file: string;
let database: string;
let other: pg.Client;
let schemas = 0;

beforeEach(async () => {
  file = join(await temporaryDirectory(), 'registry.db');
  schemas += 1;
  const schema = `transfer_${schemas}`;
  database = `${inject('postgres')}?schema=${schema}`;
  other = new pg.Client({
    connectionString: inject('postgres') as string,
    options: `-c search_path=${schema}`,
  });
  await other.connect();
  await fill();
});
afterEach(() => other.end());

const transfer = (onTable: (table: string, done: number) => void = () => {}) =>
  transferToPostgres(file, database, {
    nowMs: NOW_MS,
    onProgress: ({ table, done }) => onTable(table, done),
  });

/** A registry with something in each table. */
async function fill(): Promise<void> {
  const registry = await openSqliteRegistry(file);
  await putKeys(registry, [signingKey('one'), signingKey('next', 'next'), signingKey('old', 'retired')]);
  for (const name of ['a', 'b', 'gone']) {
    await registry.createClient(
      client(name, {
        name: `${name} ü '`,
        labels: { hw: 'rev-a', line: '7' },
        metadata: { list: [1, null, '\\x'] },
        secrets: [
          unusedSecret({ hash: hashSecret(name) }, { createdAtMs: 1 }),
          {
            ...unusedSecret({ hash: bytes(0) }, { createdAtMs: 2, expiresAtMs: NOW_MS }),
            context: { kid: Buffer.from(name), encrypted: bytes(9, 40) },
          },
        ],
      }),
      event('client.create', name),
    );
  }
  await registry.deleteClient(ofClient('gone'), event('client.delete', 'gone'));
  const a = await registry.findClient('a');
  await registry.recordIssuedToken(
    a as NonNullable<typeof a>,
    { issuedAtSeconds: NOW + 3, keyId: 'one', assertion: { id: bytes(1), expiresAtSeconds: NOW + 60 } },
    event('token.issue', 'a'),
  );
  await registry.quarantineClient(
    { ...ofClient('b'), isQuarantined: true },
    'stolen',
    event('client.quarantine', 'b'),
  );
  await registry.revoke(
    { kind: 'token', tokenId: 'j1', expiresAtSeconds: NOW + 900 },
    event('token.revoke', 'j1'),
  );
  await registry.createClientOnce(
    client('once'),
    { owner: 'default', keyHash: bytes(2), requestHash: bytes(3), notBeforeMs: 0 },
    event('client.create', 'once'),
  );
  await registry.createApiKey(
    {
      name: 'factory',
      role: 'provisioner',
      hash: bytes(4),
      previous: { hash: bytes(5), untilMs: NOW_MS },
      createdAtMs: 1,
      rotatedAtMs: 2,
      expiresAtMs: undefined,
      lastUsedAtMs: 3,
    },
    9,
    event('api_key.create', 'factory'),
  );
  const template = { id: 'sensor-{serial}' };
  await registry.putTemplate(
    { name: 'sensor', template, createdAtMs: 1 },
    9,
    event('template.put', 'sensor'),
  );
  await registry.createJob(
    {
      id: 'j1',
      template: { name: 'sensor', version: 1, template, createdAtMs: 1 },
      keyHash: bytes(6),
      source: 'devices.csv',
      total: 3,
      start: 1,
      state: 'running',
      nextRow: 1,
      created: 0,
      failed: 0,
      createdBy: 'default',
      createdAtMs: 1,
      updatedAtMs: 1,
    },
    event('job.create', 'j1'),
  );
  const origin = { template: 'sensor', templateVersion: 1, job: { id: 'j1', row: 1 } };
  await registry.recordRows({
    jobId: 'j1',
    firstRow: 1,
    rows: [
      { client: client('sensor-1', { origin }), event: event('client.create', 'sensor-1') },
      { failure: { code: 'invalid_request', description: 'no' }, event: event('client.create', 'j1') },
    ],
    atMs: 5,
  });
  await registry.createCampaign(
    {
      id: 'c1',
      selector: 'group=x',
      batchSize: 2,
      confirmSeconds: 60,
      pauseRatio: 0.1,
      secretLifetimeSeconds: undefined,
      keyHash: bytes(7),
      state: 'running',
      reason: undefined,
      selected: 1,
      batch: 0,
      batchAtMs: undefined,
      reached: undefined,
      confirmed: 0,
      failed: 0,
      createdBy: 'default',
      createdAtMs: 1,
      updatedAtMs: 1,
    },
    event('campaign.create', 'c1'),
  );
  const sensor = (await registry.findClient('sensor-1')) as NonNullable<typeof a>;
  await registry.rotateBatch({
    campaignId: 'c1',
    batch: 1,
    secrets: [
      {
        client: sensor,
        secret: unusedSecret({ hash: bytes(8) }, { createdAtMs: 7 }),
        event: event('secret.rotate', 'sensor-1'),
      },
    ],
    reached: 'sensor-1',
    confirmed: 0,
    failed: 0,
    atMs: 7,
  });
  await registry.createEnrollment(
    {
      id: 'e1',
      codeHash: bytes(10),
      groupKeys: undefined,
      template: 'sensor',
      row: { serial: 'x' },
      maxUses: 5,
      uses: 0,
      expiresAtMs: undefined,
      needsApproval: true,
      replaces: false,
      revokedAtMs: undefined,
      createdBy: 'default',
      createdAtMs: 1,
    },
    event('enrollment.create', 'e1'),
  );
  await registry.allowClients('e1', ['sensor-9'], event('enrollment.allow', 'e1'));
  await registry.recordRequest(
    {
      id: 'r1',
      enrollmentId: 'e1',
      deviceHash: bytes(11),
      state: 'pending',
      clientId: 'sensor-9',
      templateVersion: 1,
      registration: { clientId: 'sensor-9' } as never,
      salt: bytes(12),
      reason: undefined,
      createdAtMs: 1,
      updatedAtMs: 1,
    },
    undefined,
    event('enrollment.allow', 'r1'),
    false,
  );
  await registry.reserveSequenceNumbers(10, 0);
  await registry.close();
}

type Row = Record<string, unknown>;
const plain = (rows: Row[]) =>
  rows.map((row) =>
    Object.fromEntries(
      Object.entries(row)
        .sort()
        .map(([name, cell]) => [
          name,
          Buffer.isBuffer(cell)
            ? cell.toString('hex')
            : typeof cell === 'string'
              ? cell
              : cell && Number(cell),
        ]),
    ),
  );

async function bothOf(table: string, order: string): Promise<[Row[], Row[]]> {
  const sqlite = new Sqlite(file, { readonly: true });
  const query = `SELECT * FROM ${table} ORDER BY ${order}`;
  const from = sqlite.prepare(query).all() as Row[];
  sqlite.close();
  const to = (await other.query(query)).rows as Row[];
  const numbers = new Set(
    from.flatMap((row) => Object.keys(row).filter((name) => typeof row[name] === 'number')),
  );
  for (const row of to) for (const name of numbers) if (row[name] !== null) row[name] = Number(row[name]);
  return [plain(from), plain(to)];
}

test('each table of a registry is carried, cell by cell', async () => {
  const report = await transfer();
  const { rows } = await other.query(
    'SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1',
  );
  // Of the schema itself, and a clock that is made of the trail.
  const own = ['schema_version', 'act_clock'];
  expect(rows.map(({ table_name }) => table_name).filter((name) => !own.includes(name))).toEqual(
    carriedTables.map(({ name }) => name).sort(),
  );
  for (const { name, key } of carriedTables) {
    const [from, to] = await bothOf(name, key.join(', '));
    expect([name, from.length > 0]).toEqual([name, true]);
    expect([name, report.rows[name]]).toEqual([name, from.length]);
    if (name === 'audit') expect(to.pop()).toMatchObject({ action: 'database.migrate' });
    expect([name, to]).toEqual([name, from]);
  }
});

test('the registry goes on: new numbers, the chain, a job, what was revoked and used', async () => {
  await transfer();
  const registry = await openPostgresRegistry(database);
  try {
    const seen = await registry.listRevocations({ nowSeconds: NOW, limit: 100 });
    await registry.createClient(client('new'), event('client.create', 'new'));
    const last = (await registry.findClient('sensor-1'))?.registration ?? 0;
    expect((await registry.findClient('new'))?.registration).toBeGreaterThan(last);
    await registry.revoke(
      { kind: 'token', tokenId: 'j2', expiresAtSeconds: NOW + 900 },
      event('token.revoke', 'j2'),
    );
    const after = seen.at(-1)?.cursor;
    expect(await registry.listRevocations({ after, nowSeconds: NOW, limit: 9 })).toMatchObject([
      { tokenId: 'j2' },
    ]);
    expect(await registry.useAssertion({ id: bytes(1), expiresAtSeconds: NOW + 60 }, NOW)).toBe(false);
    expect(await registry.reserveSequenceNumbers(1, 0)).toBe(10);
    expect(await registry.findJob('j1')).toMatchObject({ nextRow: 3, created: 1, failed: 1 });
    const events = await registry.listEvents({ limit: 1000 });
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, i) => i + 1));
    events.forEach(({ previousHash }, i) => {
      if (i > 0) expect(previousHash).toBe(events[i - 1]?.hash);
    });
  } finally {
    await registry.close();
  }
});

test('a number that was given to a client that is gone is not given again', async () => {
  const registry = await openSqliteRegistry(file);
  await registry.createClient(client('last'), event('client.create', 'last'));
  const gone = (await registry.findClient('last'))?.registration ?? 0;
  await registry.deleteClient(ofClient('last'), event('client.delete', 'last'));
  await registry.close();
  await transfer();
  const there = await openPostgresRegistry(database);
  await there.createClient(client('last'), event('client.create', 'last'));
  expect((await there.findClient('last'))?.registration).toBe(gone + 1);
  await there.close();
});

test.each(carriedTables.map(({ name }) => name))(
  'broken off at %s it goes on when it is run again, and nobody opens it meanwhile',
  async (table) => {
    const breaking = transfer((name, done) => {
      if (name === table && done > 0) throw new Error('broken off');
    });
    await expect(breaking).rejects.toThrow('broken off');
    await expect(openPostgresRegistry(database)).rejects.toMatchObject({
      code: 'registry_unavailable',
      message: expect.stringContaining("finish 'fleetgate migrate' first"),
    });
    expect(await transfer()).toMatchObject({ isResumed: true });
    for (const { name, key } of carriedTables.filter((one) => one.name !== 'audit')) {
      const [from, to] = await bothOf(name, key.join(', '));
      expect([name, to]).toEqual([name, from]);
    }
  },
);

test('a schema that is in use, or holds part of another database, is left alone', async () => {
  const copy = join(await temporaryDirectory(), 'registry.db');
  await copyFile(file, copy);
  await transferToPostgres(copy, database, { nowMs: NOW_MS });
  await expect(transfer()).rejects.toMatchObject({
    code: 'transfer_failed',
    message: expect.stringContaining('is in use'),
  });

  schemas += 1;
  database = `${inject('postgres')}?schema=transfer_${schemas}`;
  await expect(
    transfer((name) => {
      if (name === 'revocations') throw new Error('broken off');
    }),
  ).rejects.toThrow('broken off');
  const registry = await openSqliteRegistry(file);
  await registry.createClient(client('later'), event('client.create', 'later'));
  await registry.close();
  await expect(transfer()).rejects.toMatchObject({
    code: 'transfer_failed',
    message: expect.stringContaining('part of another database'),
  });
});

describe('a file whose registry was carried', () => {
  const inUrl = new URL(inject('postgres') ?? 'postgres://');
  const place = () =>
    `postgres://${inUrl.host}${inUrl.pathname} (schema ${new URL(database).searchParams.get('schema')})`;

  test('serves no more, and is not carried again, here or elsewhere', async () => {
    await transfer();
    await expect(openSqliteRegistry(file)).rejects.toMatchObject({
      code: 'registry_moved',
      message: expect.stringContaining(
        `the registry of ${file} was carried to ${place()}; set issuer.database`,
      ),
    });
    await expect(transfer()).rejects.toMatchObject({
      code: 'transfer_failed',
      message: `the registry was carried to ${place()} already: nothing is left to do but to set issuer.database`,
    });
    const first = place();
    schemas += 1;
    database = `${inject('postgres')}?schema=transfer_${schemas}`;
    await expect(transfer()).rejects.toMatchObject({
      code: 'transfer_failed',
      message: expect.stringContaining(`was carried to ${first}, and goes on there`),
    });
  });

  test('and whose schema was dropped since is not carried again: what was revoked there is not in it', async () => {
    await transfer();
    await other.query(`DROP SCHEMA ${new URL(database).searchParams.get('schema')} CASCADE`);
    await expect(transfer()).rejects.toMatchObject({
      code: 'transfer_failed',
      message: expect.stringContaining('restore a backup of it first'),
    });
  });

  test('has no trail and no backup of what is now', async () => {
    await transfer();
    await expect(openAuditReader(file)).rejects.toMatchObject({ code: 'registry_moved' });
    await expect(backupDatabase(file, `${file}.backup`)).rejects.toMatchObject({ code: 'registry_moved' });
  });

  test('is marked before the schema is open, and what was broken off between goes on', async () => {
    await expect(
      transfer((name, done) => {
        if (name === 'audit' && done > 0) throw new Error('broken off');
      }),
    ).rejects.toThrow('broken off');
    await (await openSqliteRegistry(file)).close();
    await other.query(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON act_clock EXECUTE FUNCTION refuse()`);
    await expect(transfer()).rejects.toMatchObject({ code: 'registry_unavailable' });
    await expect(openSqliteRegistry(file)).rejects.toMatchObject({ code: 'registry_moved' });
    await expect(openPostgresRegistry(database)).rejects.toThrow("finish 'fleetgate migrate' first");
    await other.query('DROP TRIGGER refuse ON act_clock');
    expect(await transfer()).toMatchObject({ isResumed: true });
    await (await openPostgresRegistry(database)).close();
  });

  test.each(['before', 'after'])(
    'serves again where a backup of %s is put in its place, and all tokens are revoked',
    async (when) => {
      const backup = join(await temporaryDirectory(), 'backup.db');
      if (when === 'before') await backupDatabase(file, backup);
      await transfer();
      // By hand: no backup is made of such a file.
      if (when === 'after') await copyFile(file, backup);
      const report = await restoreDatabase(backup, file, NOW_MS);
      expect(report).toMatchObject({ known: 'some', revokedBefore: expect.any(Number) });
      const registry = await openSqliteRegistry(file);
      const token = { tokenId: 'j9', clientId: 'a', keyId: 'one', issuedAtSeconds: NOW - 1 };
      expect(await registry.isRevoked(token)).toBe(true);
      await registry.close();
    },
  );
});

test('broken off while it begins, it begins anew', async () => {
  const schema = new URL(database).searchParams.get('schema');
  await other.query(`
    CREATE FUNCTION public.break_${schema}() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF current_schema() = '${schema}' AND to_regclass('transfer') IS NOT NULL THEN
        ALTER TABLE transfer ADD CONSTRAINT break CHECK (table_name <> 'client_secrets');
      END IF;
    END $$;
    CREATE EVENT TRIGGER break_${schema} ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
      EXECUTE FUNCTION public.break_${schema}()`);
  try {
    await expect(transfer()).rejects.toMatchObject({ code: 'registry_unavailable' });
  } finally {
    await other.query(`DROP EVENT TRIGGER break_${schema}`);
  }
  await other.query('ALTER TABLE IF EXISTS transfer DROP CONSTRAINT break');
  await expect(
    transfer((name, done) => {
      if (name === 'audit' && done > 0) throw new Error('broken off');
    }),
  ).rejects.toThrow('broken off');
  expect(await transfer()).toMatchObject({ isResumed: true });
});

test('of two at once on one schema one carries, also where each has a copy of the file', async () => {
  const copy = join(await temporaryDirectory(), 'registry.db');
  await copyFile(file, copy);
  const outcomes = await Promise.allSettled(
    [file, copy].map((from) => transferToPostgres(from, database, { nowMs: NOW_MS })),
  );
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { code: 'transfer_failed' },
  });
  for (const { name, key } of carriedTables.filter((one) => one.name !== 'audit')) {
    const [from, to] = await bothOf(name, key.join(', '));
    expect([name, to]).toEqual([name, from]);
  }
});

test('an issuer that has opened the schema before writes nothing into it meanwhile, and none starts', async () => {
  const early = await openPostgresRegistry(database);
  let writing: Promise<boolean> | undefined;
  let starting: Promise<unknown> | undefined;
  await transfer((table) => {
    if (table !== 'clients') return;
    writing ??= early.createClient(client('early'), event('client.create', 'early'));
    starting ??= openPostgresRegistry(database).catch((error: Error) => error.message);
  });
  expect(await starting).toContain("finish 'fleetgate migrate' first");
  expect(await writing).toBe(true);
  const { sequence } = (await early.listEvents({ limit: 1000 })).at(-1) ?? {};
  expect(await early.findClient('early')).toMatchObject({ clientId: 'early' });
  expect((await early.listEvents({ limit: 1000 })).map((one) => one.sequence)).toEqual(
    Array.from({ length: sequence as number }, (_, i) => i + 1),
  );
  await early.close();
});

test('one whose turn is lost with its connection does not go on', async () => {
  await expect(
    transfer((name) => {
      if (name === 'audit') throw new Error('broken off');
    }),
  ).rejects.toThrow('broken off');
  // Holds it up at the trail.
  await other.query('BEGIN; LOCK TABLE audit');
  let cut: Promise<unknown> | undefined;
  const outcome = transfer((name) => {
    if (name !== 'enrollment_requests') return;
    cut ??= other
      .query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND classid = ${0x464c5447}
           AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid`,
      )
      .then(({ rowCount }) => {
        expect(rowCount).toBe(1);
        return other.query('ROLLBACK');
      });
  });
  await expect(outcome).rejects.toMatchObject({
    code: 'transfer_failed',
    message: expect.stringContaining('was lost; run this again'),
  });
  await cut;
  expect(await transfer()).toMatchObject({ isResumed: true });
});

test('what changes without a row of the trail is as it is now when a later run ends', async () => {
  await expect(
    transfer((name) => {
      if (name === 'audit') throw new Error('broken off');
    }),
  ).rejects.toThrow('broken off');
  const registry = await openSqliteRegistry(file);
  expect(await registry.reserveSequenceNumbers(100, 0)).toBe(10);
  for (const fill of [0, 2]) {
    const used = { id: bytes(fill), expiresAtSeconds: NOW + 60 };
    expect(await registry.useAssertion(used, NOW)).toBe(true);
  }
  await registry.pruneRevocations(NOW + 10_000_000);
  await registry.close();
  expect(await transfer()).toMatchObject({ isResumed: true });
  const there = await openPostgresRegistry(database);
  // A number that is used twice is a nonce that is used twice.
  expect(await there.reserveSequenceNumbers(1, 0)).toBe(110);
  for (const fill of [0, 1, 2]) {
    expect(await there.useAssertion({ id: bytes(fill), expiresAtSeconds: NOW + 60 }, NOW)).toBe(false);
  }
  await there.close();
});

test('a database that an issuer has open is refused', async () => {
  const registry = await openSqliteRegistry(file);
  await registry.findClient('a');
  await expect(transfer()).rejects.toMatchObject({ code: 'data_directory_in_use' });
  await registry.close();
  expect(await transfer()).toMatchObject({ isResumed: false });
});

test('a trail that was changed is not carried on', async () => {
  const sqlite = new Sqlite(file);
  sqlite.exec("DROP TRIGGER audit_is_never_changed; UPDATE audit SET actor = 'nobody' WHERE sequence = 2");
  sqlite.close();
  await expect(transfer()).rejects.toMatchObject({
    code: 'transfer_failed',
    message: expect.stringContaining('broken at row 2 (changed)'),
  });
  await expect(openPostgresRegistry(database)).rejects.toThrow("finish 'fleetgate migrate'");
});
