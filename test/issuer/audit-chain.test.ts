import { createHash } from 'node:crypto';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type AuditEvent, auditEvent } from '../../issuer/audit.ts';
import { chainHash, GENESIS_HASH } from '../../issuer/audit-chain.ts';
import { keepAudit } from '../../issuer/audit-retention.ts';
import type { ChainedEvent } from '../../issuer/audit-trail.ts';
import { type ChainVerdict, type VerifyOptions, verifyChain } from '../../issuer/audit-verify.ts';
import { fromAuditView, toAuditView } from '../../issuer/audit-wire.ts';
import { openAuditReader } from '../../issuer/registry/audit-reader.ts';
import { openRegistry } from '../../issuer/registry/open-registry.ts';
import { isPostgresUrl, parsePostgresUrl } from '../../issuer/registry/postgres/place.ts';
import { schema } from '../../issuer/registry/postgres/schema.ts';
import type { Registry } from '../../issuer/registry/registry.ts';
import { migrations } from '../../issuer/registry/sqlite/migrations.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { otherConnection } from '../support/database.ts';
import { databaseIn, isInFile, temporaryDirectory } from '../support/issuer-fixture.ts';

let database: string;
let registry: Registry;

beforeEach(async () => {
  database = databaseIn(await temporaryDirectory());
  registry = await openRegistry(database);
  onTestFinished(() => registry.close());
});

const event = (number: number, atMs = number): AuditEvent =>
  auditEvent({ atMs, actor: 'admin:default', action: 'client.create', target: `c${number}` });

const pruning = (atMs: number) => auditEvent({ atMs, actor: 'issuer', action: 'audit.prune' });

async function record(count: number): Promise<void> {
  for (let i = 1; i <= count; i += 1) await registry.recordEvent(event(i));
}

async function* each(events: readonly ChainedEvent[]): AsyncGenerator<ChainedEvent> {
  yield* events;
}

const all = () => registry.listEvents({ limit: 100_000 });
const verify = async (options?: VerifyOptions): Promise<ChainVerdict> =>
  verifyChain(each(await all()), options);

/** Somebody who can write to the database, and takes the triggers away first. */
async function tamper(sql: string): Promise<void> {
  const other = await otherConnection(database);
  await other.execute(
    isPostgresUrl(database)
      ? `DROP TRIGGER audit_is_never_changed ON audit; ${sql}`
      : `DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_deleted_by_retention_only; ${sql}`,
  );
  // What another process did is seen from the next turn of the event loop on.
  await new Promise(setImmediate);
}

test('each row holds SHA-256 of the hash before and its fields as JSON, from 32 zero bytes on', async () => {
  await record(2);
  await registry.recordEvent(
    auditEvent({
      atMs: 3,
      actor: 'client:ü',
      action: 'token.issue',
      target: 'a',
      tokenId: 'j"1',
      caller: { address: '::1', requestId: 'r' },
    }),
  );
  const changes = [
    { field: 'name', before: 'ü "1"', after: 'b' },
    { field: 'jwks', withheld: true as const },
  ];
  await registry.recordEvent({ ...event(4), action: 'client.update', changes });
  // As docs/operations.md has it, and not by our own function.
  let previous = '0'.repeat(64);
  for (const one of await all()) {
    const fields = [
      one.sequence,
      one.atMs,
      one.actor,
      one.address ?? null,
      one.action,
      one.target ?? null,
      one.result,
      one.requestId ?? null,
      one.tokenId ?? null,
      ...(one.sequence === 4 ? [changes] : []),
    ];
    expect(one.previousHash).toBe(previous);
    previous = createHash('sha256')
      .update(previous + JSON.stringify(fields))
      .digest('hex');
    expect(one.hash).toBe(previous);
  }
  expect(await verify()).toMatchObject({ isIntact: true, rows: 4, first: { sequence: 1 } });
  expect((await all()).at(-1)).toMatchObject({ changes });
});

test('an empty trail is whole', async () => {
  expect(await verify()).toEqual({ isIntact: true, rows: 0, first: undefined, last: undefined });
});

test.each([
  'sequence',
  'at_ms',
  'actor',
  'address',
  'action',
  'target',
  'result',
  'request_id',
  'token_id',
  'changes',
  'hash',
])('a row whose %s was changed is the first that does not fit', async (column) => {
  await record(5);
  const hash = isPostgresUrl(database) ? `'\\x${'00'.repeat(32)}'` : `x'${'00'.repeat(32)}'`;
  const value = { hash, sequence: '99', at_ms: '4' }[column] ?? "'x'";
  await tamper(`UPDATE audit SET ${column} = ${value} WHERE sequence = ${column === 'sequence' ? 5 : 3}`);
  const sequence = column === 'sequence' ? 99 : 3;
  expect(await verify()).toMatchObject({ isIntact: false, sequence });
});

test('what a row says was changed cannot be said otherwise, or taken out', async () => {
  const changes = [{ field: 'scope', before: 'a', after: 'a b' }];
  for (const action of ['client.create', 'client.update', 'client.update'] as const) {
    await registry.recordEvent({ ...event(1), action, ...(action === 'client.create' ? {} : { changes }) });
  }
  expect(await verify()).toMatchObject({ isIntact: true });
  await tamper(`UPDATE audit SET changes = replace(changes, 'a b', 'a') WHERE sequence = 3`);
  expect(await verify()).toMatchObject({ isIntact: false, sequence: 3, problem: 'changed' });
  const other = await otherConnection(database);
  await other.execute('UPDATE audit SET changes = NULL WHERE sequence = 2');
  await new Promise(setImmediate);
  expect(await verify()).toMatchObject({ isIntact: false, sequence: 2, problem: 'changed' });
});

test('a trail from before acts said what they changed is read, goes on, and is whole', async () => {
  const old = databaseIn(await temporaryDirectory());
  const other = await otherConnection(old);
  if (isPostgresUrl(old)) {
    const name = parsePostgresUrl(old).schema;
    await other.execute(`CREATE SCHEMA ${name}; SET search_path = ${name}; ${schema};
      CREATE TABLE schema_version (version integer NOT NULL); INSERT INTO schema_version VALUES (1)`);
  } else {
    const step = migrations.findIndex((one) => `${one}`.includes('ALTER TABLE audit ADD COLUMN changes'));
    const database = new Sqlite(old);
    for (const one of migrations.slice(0, step)) typeof one === 'string' ? database.exec(one) : one(database);
    database.exec(`PRAGMA user_version = ${step}; PRAGMA application_id = ${0x464c5447}`);
    database.close();
  }
  const row = event(1);
  const hash = chainHash(GENESIS_HASH, 1, row).toString('hex');
  await other.execute(`INSERT INTO audit (sequence, at_ms, actor, action, target, result, hash)
    VALUES (1, 1, '${row.actor}', '${row.action}', '${row.target}', 'ok',
      ${isPostgresUrl(old) ? `'\\x${hash}'` : `x'${hash}'`})`);
  const opened = await openRegistry(old);
  onTestFinished(() => opened.close());
  await opened.recordEvent({ ...event(2), changes: [{ field: 'name', after: 'n' }] });
  expect(await verifyChain(each(await opened.listEvents({ limit: 10 })))).toMatchObject({
    isIntact: true,
    rows: 2,
  });
});

test.each([
  ['in the middle', 'sequence = 3', 4],
  ['at the beginning', 'sequence <= 2', 3],
])('rows that are missing %s are found', async (_name, where, sequence) => {
  await record(5);
  await tamper(`DELETE FROM audit WHERE ${where}`);
  expect(await verify()).toEqual({ isIntact: false, sequence, problem: 'rows_missing' });
});

test('rows cut off at the end are found by a checkpoint, and by it alone', async () => {
  await record(5);
  const before = await verify();
  await tamper('DELETE FROM audit WHERE sequence > 3');
  expect(await verify()).toMatchObject({ isIntact: true, rows: 3 });
  const expected = before.isIntact ? before.last : undefined;
  expect(await verify({ expected })).toEqual({
    isIntact: false,
    sequence: 5,
    problem: 'checkpoint_missing',
  });
  // Others in their place do not help.
  await registry.recordEvent(event(40));
  await registry.recordEvent(event(50));
  expect(await verify({ expected })).toMatchObject({ isIntact: false, sequence: 5 });
});

test('a checkpoint that the trail has passed still holds', async () => {
  await record(2);
  const before = await verify();
  await record(3);
  expect(await verify({ expected: before.isIntact ? before.last : undefined })).toMatchObject({ rows: 5 });
});

test('no field can be moved into another: a different row has a different hash', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 });
  const rows = fc.tuple(text, text, fc.option(text, { nil: undefined }), fc.option(text, { nil: undefined }));
  const { chainHash, GENESIS_HASH } = await import('../../issuer/audit-chain.ts');
  const hashOf = ([actor, result, target, tokenId]: [
    string,
    string,
    string | undefined,
    string | undefined,
  ]) =>
    chainHash(GENESIS_HASH, 1, {
      ...auditEvent({ atMs: 1, actor, action: 'key.activate', target, result, tokenId }),
    }).toString('hex');
  fc.assert(
    fc.property(rows, rows, (one, other) => {
      expect(hashOf(one) === hashOf(other)).toBe(JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});

test('acts of two processes that interleave make one chain', async () => {
  const other = await openRegistry(database);
  onTestFinished(() => other.close());
  const acts: Promise<void>[] = [];
  for (let i = 0; i < 300; i += 1) {
    acts.push((i % 2 === 0 ? registry : other).recordEvent(event(i)));
    if (i % 7 === 0) await acts.at(-1);
  }
  await Promise.all(acts);
  expect(await verify()).toMatchObject({ isIntact: true, rows: 300 });
});

test('an act that is undone leaves no gap', async () => {
  await registry.recordEvent(event(1));
  await Promise.allSettled([
    registry.recordEvent(event(2)),
    // NULL in a column that takes none: the act fails in the middle.
    registry.recordEvent({ ...event(3), actor: undefined as unknown as string }),
    registry.recordEvent(event(4)),
  ]);
  expect(await verify()).toMatchObject({ isIntact: true, rows: 3 });
});

// Of a file, since no schema of PostgreSQL is from before there were hashes.
test.runIf(isInFile)('rows from before there were hashes are chained as they were found', async () => {
  const old = join(await temporaryDirectory(), 'old.db');
  const database = new Sqlite(old);
  database.exec(`${migrations[0]}; ${migrations[1]}; PRAGMA user_version = 2; PRAGMA application_id = ${0x464c5447};
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 25000)
    INSERT INTO audit SELECT n, n, 'issuer', NULL, 'token.issue', 'c' || n, 'ok', NULL, 'j' || n FROM numbers;`);
  database.close();
  const opened = await openSqliteRegistry(old);
  onTestFinished(() => opened.close());
  await opened.recordEvent(event(1));
  const events = await opened.listEvents({ limit: 100_000 });
  expect(await verifyChain(each(events))).toMatchObject({ isIntact: true, rows: 25_001 });
  expect(events[24_999]).toMatchObject({ sequence: 25_000, target: 'c25000', tokenId: 'j25000' });
});

test('a row that retention has not reached cannot be deleted', async () => {
  await record(5);
  await registry.pruneEvents(3, pruning(100));
  const other = await otherConnection(database);
  await expect(other.execute('DELETE FROM audit WHERE sequence = 4')).rejects.toThrow(/retention only/);
});

test('a trail shortened by retention is whole, begins later, and says up to where it was deleted', async () => {
  await record(10);
  const [, , , , fifth] = await all();
  expect(await registry.pruneEvents(6, pruning(100))).toBe(5);
  expect(await verify()).toMatchObject({ isIntact: true, rows: 6, first: { sequence: 6 } });
  expect((await all()).at(-1)).toMatchObject({
    action: 'audit.prune',
    target: `5:${fifth?.hash}`,
    sequence: 11,
  });
});

test('retention that took all rows leaves its own, and the chain goes on from there', async () => {
  await record(4);
  await registry.pruneEvents(1000, pruning(2000));
  await record(2);
  expect((await all()).map(({ sequence }) => sequence)).toEqual([5, 6, 7]);
  expect(await verify()).toMatchObject({ isIntact: true, rows: 3 });
});

test('rows deleted beyond what retention recorded are found', async () => {
  await record(10);
  await registry.pruneEvents(6, pruning(100));
  await tamper('DELETE FROM audit WHERE sequence = 6');
  expect(await verify()).toEqual({ isIntact: false, sequence: 7, problem: 'rows_missing' });
});

test('retention deletes by age, in acts of ten thousand rows, and keeps what is younger', async () => {
  const day = 86_400_000;
  await Promise.all(
    Array.from({ length: 12_000 }, (_, i) => registry.recordEvent(event(i, i < 11_000 ? 1 : 9 * day))),
  );
  const retention = keepAudit({ trail: registry, retentionDays: 5, now: () => 10 * day });
  onTestFinished(() => retention.close());
  await retention.prune();
  const events = await all();
  expect(events.filter(({ action }) => action === 'audit.prune')).toHaveLength(2);
  expect(events).toHaveLength(1002);
  expect(await verify()).toMatchObject({ isIntact: true });
  expect(await retention.prune()).toBe(0);
});

test('a retention of 0 days keeps all', async () => {
  await record(3);
  const retention = keepAudit({ trail: registry, retentionDays: 0, now: () => Number.MAX_SAFE_INTEGER });
  onTestFinished(() => retention.close());
  expect(await retention.prune()).toBe(0);
  expect(await all()).toHaveLength(3);
});

test('what is exported is what was recorded, and verifies', async () => {
  await record(3);
  const exported = (await all()).map((one) => JSON.parse(JSON.stringify(toAuditView(one))));
  expect(exported.map(fromAuditView)).toEqual(await all());
  expect(await verifyChain(each(exported.map((one) => fromAuditView(one) as ChainedEvent)))).toMatchObject({
    isIntact: true,
  });
});

test.each([null, [], {}, 'x', { sequence: 1 }, { ...toAuditView(chained()), at: 'yesterday' }])(
  'what is no event is not read as one: %j',
  (view) => {
    expect(fromAuditView(view)).toBeUndefined();
  },
);

test('the trail is read beside the issuer while the issuer writes it', async () => {
  await record(2);
  const reader = await openAuditReader(database);
  onTestFinished(() => reader.close());
  expect((await reader.search({ limit: 10 })).events).toHaveLength(2);
  await record(1);
  const { events } = await reader.search({ limit: 10, order: 'newest' });
  expect(events.map(({ sequence }) => sequence)).toEqual([3, 2, 1]);
  expect(await reader.checkpoint()).toEqual({ sequence: 3, hash: events[0]?.hash });
});

test('a search goes on over rows that do not match, page by page, in both orders', async () => {
  for (const rare of [7, 15_007, 30_007]) {
    await Promise.all(
      Array.from({ length: 15_000 }, (_, i) =>
        registry.recordEvent({ ...event(i), result: i === rare % 15_000 ? 'rare' : 'ok' }),
      ),
    );
  }
  for (const order of ['oldest', 'newest'] as const) {
    const found: number[] = [];
    let after: number | undefined;
    let pages = 0;
    do {
      const page = await registry.searchEvents({ order, after, limit: 2, result: 'rare' });
      found.push(...page.events.map(({ sequence }) => sequence));
      after = page.nextAfter;
      pages += 1;
    } while (after !== undefined);
    const expected = [8, 15_008, 30_008];
    expect(found).toEqual(order === 'oldest' ? expected : expected.toReversed());
    expect(pages).toBeGreaterThan(2);
  }
});

test.each([
  [{ actor: 'admin:default' }, [1, 3]],
  [{ action: 'token.issue' }, [2]],
  [{ target: 'b' }, [2]],
  [{ result: 'ok' }, [1, 2]],
  [{ fromMs: 20 }, [2, 3]],
  [{ fromMs: 20, untilMs: 30 }, [2]],
  [{ actor: 'admin:default', result: 'ok' }, [1]],
])('a search by %o finds %o', async (query, sequences) => {
  await registry.recordEvent(
    auditEvent({ atMs: 10, actor: 'admin:default', action: 'client.create', target: 'a' }),
  );
  await registry.recordEvent(auditEvent({ atMs: 20, actor: 'client:b', action: 'token.issue', target: 'b' }));
  await registry.recordEvent(
    auditEvent({
      atMs: 30,
      actor: 'admin:default',
      action: 'client.create',
      target: 'a',
      result: 'registry_conflict',
    }),
  );
  const { events, nextAfter } = await registry.searchEvents({ limit: 10, ...query });
  expect(events.map(({ sequence }) => sequence)).toEqual(sequences);
  expect(nextAfter).toBeUndefined();
});

function chained(): ChainedEvent {
  return { ...event(1), sequence: 1, previousHash: '', hash: '' };
}
