import { open, readFile } from 'node:fs/promises';
import Sqlite from 'better-sqlite3';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { auditEvent } from '../../issuer/audit.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;

beforeEach(async () => {
  fixture = await issuerFixture();
});

const ready = async () => (await fetch(`${fixture.issuer.url}/readyz`)).status;

function another(): Sqlite.Database {
  const database = new Sqlite(fixture.database);
  onTestFinished(() => void database.close());
  return database;
}

async function expectUnavailable(response: Response): Promise<void> {
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  expect(await response.json()).toMatchObject({ error: 'temporarily_unavailable' });
}

test('a lock that another process keeps stops writes alone: the event loop and reads go on', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const other = another();
  other.exec('BEGIN IMMEDIATE');
  const startMs = performance.now();
  const asking = Array.from({ length: 20 }, () => fixture.tokenFor(client));
  let answered = 0;
  let longestMs = 0;
  const live = (async () => {
    while (performance.now() - startMs < 900) {
      const beforeMs = performance.now();
      expect((await fetch(`${fixture.issuer.url}/livez`)).status).toBe(200);
      expect((await fixture.call('GET', '/v1/clients/a')).status).toBe(200);
      longestMs = Math.max(longestMs, performance.now() - beforeMs);
      answered += 1;
    }
  })();
  for (const response of await Promise.all(asking)) await expectUnavailable(response);
  await live;
  // Waiting for the lock inside SQLite would stop all of it for a second.
  expect(answered).toBeGreaterThan(5);
  expect(longestMs).toBeLessThan(700);
  expect(await ready()).toBe(503);
  other.exec('ROLLBACK');
  expect(await ready()).toBe(200);
  expect((await fixture.tokenFor(client)).status).toBe(200);
});

test('a lock that another process lets go within a second delays an act and refuses none', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const other = another();
  other.exec('BEGIN IMMEDIATE');
  const asking = fixture.tokenFor(client);
  setTimeout(() => other.exec('ROLLBACK'), 300);
  expect((await asking).status).toBe(200);
});

test('a registry that is closed while another process keeps the lock refuses what waits, and does not hang', async () => {
  const registry = await openSqliteRegistry(fixture.database);
  another().exec('BEGIN IMMEDIATE');
  const event = auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' });
  const waiting = expect(registry.recordEvent(event)).rejects.toMatchObject({ code: 'registry_unavailable' });
  await registry.close();
  await waiting;
});

test('a damaged database is answered with 503 and said by readyz, and a mended one serves again', async () => {
  const filler = 'x'.repeat(6000);
  for (let i = 0; i < 600; i += 1) {
    await fixture.register({ client_id: `c${i}`, metadata: { filler } });
  }
  another().pragma('wal_checkpoint(TRUNCATE)');
  const whole = await readFile(fixture.database);
  const damaged = Buffer.from(whole);
  // All but the first pages, which are always read from memory.
  damaged.fill(0, 16 * 4096);
  const write = async (content: Buffer) => {
    const handle = await open(fixture.database, 'r+');
    await handle.write(content, 0, content.length, 0);
    await handle.close();
  };
  await write(damaged);
  const statuses = new Set<number>();
  for (let i = 0; i < 600; i += 1) statuses.add((await fixture.call('GET', `/v1/clients/c${i}`)).status);
  expect(statuses).toContain(503);
  expect([...statuses].filter((status) => ![200, 404, 503].includes(status))).toEqual([]);
  expect(await ready()).toBe(503);
  await write(whole);
  expect(await ready()).toBe(200);
  for (let i = 0; i < 600; i += 100) {
    expect((await fixture.call('GET', `/v1/clients/c${i}`)).status).toBe(200);
  }
});
