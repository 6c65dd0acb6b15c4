import Sqlite from 'better-sqlite3';
import { beforeEach, expect, test } from 'vitest';
import { type GroupCommit, groupCommit } from '../../issuer/registry/sqlite/group-commit.ts';

let database: Sqlite.Database;
let commits: GroupCommit;
let statements: string[];

beforeEach(() => {
  statements = [];
  database = new Sqlite(':memory:', { verbose: (sql) => statements.push(String(sql)) });
  database.exec('CREATE TABLE rows (value INTEGER UNIQUE)');
  commits = groupCommit(database, { maxWaitingActs: 100 });
  statements = [];
});

const insert = (value: number) => () => database.prepare('INSERT INTO rows VALUES (?)').run(value).changes;
const rows = () => database.prepare('SELECT value FROM rows ORDER BY value').pluck().all();
const count = (sql: string) => statements.filter((statement) => statement.startsWith(sql)).length;

test('acts that wait together share one transaction', async () => {
  await Promise.all([1, 2, 3, 4].map((value) => commits.run(insert(value))));
  expect(rows()).toEqual([1, 2, 3, 4]);
  expect(count('BEGIN')).toBe(1);
  expect(count('COMMIT')).toBe(1);
});

test('the load is the acts that wait, and those of each commit that was done', async () => {
  const acts = [1, 2, 3].map((value) => commits.run(insert(value)));
  expect(commits.load()).toEqual({ waitingActs: 3, commits: 0, acts: 0 });
  await Promise.all(acts);
  expect(commits.load()).toEqual({ waitingActs: 0, commits: 1, acts: 3 });
  await expect(commits.run(() => database.exec('ROLLBACK; nonsense'))).rejects.toThrow();
  expect(commits.load()).toEqual({ waitingActs: 0, commits: 1, acts: 3 });
});

test('an act is answered after the commit and not before', async () => {
  let committedWhenAnswered: boolean | undefined;
  await commits.run(insert(1)).then(() => {
    committedWhenAnswered = statements.at(-1) === 'COMMIT' && !database.inTransaction;
  });
  expect(committedWhenAnswered).toBe(true);
});

test('an act that fails is undone alone and harms no other', async () => {
  const results = await Promise.allSettled([
    commits.run(insert(1)),
    commits.run(() => {
      insert(2)();
      throw new Error('half-way');
    }),
    commits.run(insert(1)),
    commits.run(insert(3)),
  ]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
  expect(results[2]).toMatchObject({ reason: { code: 'registry_unavailable' } });
  expect(rows()).toEqual([1, 3]);
});

test('when the transaction as a whole fails, every act of it is refused and none is done', async () => {
  const results = await Promise.allSettled([
    commits.run(insert(1)),
    // As SQLite does by itself on a full disk.
    commits.run(() => {
      database.exec('ROLLBACK');
      throw new Error('disk full');
    }),
    commits.run(insert(2)),
  ]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(rows()).toEqual([]);
  await commits.run(insert(5));
  expect(rows()).toEqual([5]);
});

test('an act that ends the transaction unseen does not let the others be answered as done', async () => {
  const results = await Promise.allSettled([
    commits.run(insert(1)),
    commits.run(() => database.exec('ROLLBACK')),
    commits.run(insert(2)),
  ]);
  expect(results.every(({ status }) => status === 'rejected')).toBe(true);
  expect(rows()).toEqual([]);
});

test('when the commit itself fails, no act is answered as done', async () => {
  database.pragma('foreign_keys = ON');
  database.exec('CREATE TABLE children (value REFERENCES rows (value) DEFERRABLE INITIALLY DEFERRED)');
  const results = await Promise.allSettled([
    commits.run(insert(1)),
    // A deferred constraint is looked at by COMMIT.
    commits.run(() => database.exec('INSERT INTO children VALUES (99)')),
  ]);
  expect(results).toMatchObject([
    { status: 'rejected', reason: { code: 'registry_unavailable' } },
    { status: 'rejected', reason: { code: 'registry_unavailable' } },
  ]);
  expect(rows()).toEqual([]);
  await commits.run(insert(5));
  expect(rows()).toEqual([5]);
});

test('more acts than may wait are refused at once, and those that wait are done', async () => {
  const results = await Promise.allSettled(
    Array.from({ length: 110 }, (_, value) => commits.run(insert(value))),
  );
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(100);
  expect(results.at(-1)).toMatchObject({ reason: { code: 'registry_unavailable' } });
  expect(rows()).toHaveLength(100);
});

test('an act asked for by the answer to another comes in a later transaction', async () => {
  await commits.run(insert(1)).then(() => commits.run(insert(2)));
  expect(count('COMMIT')).toBe(2);
});
