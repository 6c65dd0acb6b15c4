import { once } from 'node:events';
import { createConnection } from 'node:net';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { VerifyReport } from '../../cli/commands/audit.ts';
import { verifyAudit } from '../../cli/commands/audit.ts';
import { verifyTrail } from '../../cli/console/audit-walk.ts';
import { auditEvent } from '../../issuer/audit.ts';
import type { AuditEventView } from '../../issuer/audit-wire.ts';
import { openRegistry } from '../../issuer/registry/open-registry.ts';
import { codeOf, type ServedConsole, serveConsole } from '../support/console-server.ts';
import { otherConnection } from '../support/database.ts';

let served: ServedConsole;
let cookie: string;
beforeEach(async () => {
  served = await serveConsole();
  cookie = await served.signIn();
});

const get = (path: string) => served.call('GET', `/api/audit${path}`, { cookie });
const linesOf = async <Line>(answer: Response) =>
  (await answer.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
const verify = async (query = '') => linesOf<VerifyReport & { of?: number }>(await get(`/verify${query}`));
async function* each(views: readonly unknown[]) {
  yield* views;
}

const pruning = auditEvent({ atMs: 2_000, actor: 'issuer', action: 'audit.prune' });

/** As another issuer on the database would write them. */
async function record(count: number, { fixture }: ServedConsole = served): Promise<void> {
  const registry = await openRegistry(fixture.database);
  const one = auditEvent({ atMs: 1, actor: 'issuer', action: 'token.issue', target: 'x'.repeat(40) });
  for (let done = 0; done < count; done += 5_000) {
    await Promise.all(Array.from({ length: Math.min(5_000, count - done) }, () => registry.recordEvent(one)));
  }
  await registry.close();
}

async function tamper(sql: string): Promise<void> {
  const other = await otherConnection(served.fixture.database);
  await other.execute(
    `DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_deleted_by_retention_only; ${sql}`,
  );
  await new Promise(setImmediate);
}

test('the chain is verified, and the checkpoint it prints is held to the next time', async () => {
  const [report] = await verify();
  expect(report).toMatchObject({ intact: true, first: 1, checkpoint: expect.stringMatching(/^\d+:\w{64}$/) });
  const checkpoint = report?.checkpoint as string;
  expect((await verify(`?expect=${checkpoint}`)).at(-1)).toMatchObject({ intact: true });
  expect(
    (await verify(`?expect=${checkpoint.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))}`)).at(-1),
  ).toEqual({
    intact: false,
    broken_at: Number(checkpoint.split(':')[0]),
    problem: expect.stringContaining('cut off, rewritten or restored'),
  });
  for (const expected of ['', 'x', '1', '1:zz', `1:${'0'.repeat(64)}&expect=2:${'0'.repeat(64)}`]) {
    expect(await codeOf(await get(`/verify?expect=${expected}`))).toEqual([400, 'invalid_request']);
  }
});

test.each([
  ['changed', "UPDATE audit SET result = 'ok', target = 'y' WHERE sequence = 700", 700],
  ['taken out', 'DELETE FROM audit WHERE sequence = 700', 701],
  ['cut off at the beginning', 'DELETE FROM audit WHERE sequence < 700', 700],
])('a row that was %s is named', async (_name, sql, sequence) => {
  await record(1_000);
  await tamper(sql);
  expect((await verify()).at(-1)).toMatchObject({ intact: false, broken_at: sequence });
});

test('a token request that comes while a long trail is verified is not held up', async () => {
  await record(30_000);
  const client = await served.fixture.register({ client_id: 'a', scope: 'x' });
  const walking = verify();
  let answered = 0;
  let isDone = false;
  void walking.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    expect((await served.fixture.tokenFor(client)).status).toBe(200);
    answered += 1;
  }
  const steps = await walking;
  // Several words of how far it is, each further than the one before.
  const rows = steps.map((step) => step.rows ?? 0);
  expect(steps.length).toBeGreaterThan(2);
  expect(rows).toEqual(rows.toSorted((one, other) => one - other));
  expect(steps[0]).toEqual({ rows: expect.any(Number), of: expect.any(Number) });
  expect(steps.at(-1)).toMatchObject({ intact: true });
  expect(steps.at(-1)?.rows).toBeGreaterThanOrEqual(30_000);
  expect(answered).toBeGreaterThan(10);
}, 60_000);

test('retention that deletes rows under a verification is not taken for a broken chain', async () => {
  await record(15_000);
  const registry = await openRegistry(served.fixture.database);
  onTestFinished(() => registry.close());
  let asked = 0;
  const steps = verifyTrail(
    async (path) => {
      asked += 1;
      if (asked === 5) await registry.pruneEvents(Date.now() + 86_400_000, pruning);
      const answer = await served.fixture.call('GET', path);
      return { status: answer.status, body: await answer.json() };
    },
    undefined,
    new AbortController().signal,
  );
  expect((await Array.fromAsync(steps)).at(-1)).toMatchObject({ intact: true, first: 10_001 });
});

test('an export is the file that the command writes, and verifies', async () => {
  await record(2_000);
  const answer = await get('/export');
  expect(answer.headers.get('content-disposition')).toBe('attachment; filename="audit.jsonl"');
  const events = await linesOf<AuditEventView>(answer);
  expect(events.length).toBeGreaterThan(2_000);
  expect(await verifyAudit(each(events), undefined)).toMatchObject({ intact: true, rows: events.length });
  const part = await get('/export?action=admin.authenticate&target=');
  expect(part.headers.get('content-disposition')).toBe('attachment; filename="audit-part.jsonl"');
  expect(await part.text()).toBe('');
  expect(await codeOf(await get('/export?since=yesterday'))).toEqual([400, 'invalid_request']);
});

test('nobody without the role goes through the trail, and no other site has it done', async () => {
  const provisioner = await served.signIn(await served.apiKey('provisioner'));
  const auditor = await served.signIn(await served.apiKey('auditor'));
  for (const path of ['/api/audit/verify', '/api/audit/export']) {
    expect(await codeOf(await served.call('GET', path, { cookie: provisioner }))).toEqual([
      403,
      'role_insufficient',
    ]);
    expect((await served.call('GET', path, { cookie: auditor })).status).toBe(200);
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await served.call('GET', path, { cookie, headers })).status).toBe(403);
  }
});

test('only so many go through the trail at once, and who leaves makes room', async () => {
  await record(20_000);
  // Raw, so that what comes is not read.
  const opened = await Promise.all(
    [1, 2].map(async () => {
      const { hostname, port } = new URL(served.url);
      const socket = createConnection(Number(port), hostname);
      socket.write(
        `GET /console/api/audit/export HTTP/1.1\r\nhost: x\r\ncookie: ${cookie}\r\nsec-fetch-site: same-origin\r\n\r\n`,
      );
      await once(socket, 'readable');
      return socket;
    }),
  );
  expect(await codeOf(await get('/export'))).toEqual([429, 'busy']);
  expect(await codeOf(await get('/verify'))).toEqual([429, 'busy']);
  for (const socket of opened) socket.destroy();
  await expect.poll(async () => (await get('/verify')).status, { timeout: 5_000 }).toBe(200);
});

test('an export ends with the sign-in, and half of it is no whole file', async () => {
  await record(40_000);
  const answer = await get('/export');
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await served.call('DELETE', '/api/session', { cookie });
  await expect(
    (async () => {
      while (!(await reader.read()).done);
    })(),
  ).rejects.toThrow();
});

test('who reads nothing of an export makes room for others', async () => {
  const slow = await serveConsole({ stallMs: 300 });
  // More than what is under way takes in.
  await record(60_000, slow);
  const cookie = await slow.signIn();
  const headers = { cookie, 'sec-fetch-site': 'same-origin' };
  const ask = () => fetch(`${slow.url}/console/api/audit/export`, { headers });
  const unread = [await ask(), await ask()];
  expect((await ask()).status).toBe(429);
  await expect.poll(async () => (await ask()).status, { timeout: 20_000 }).toBe(200);
  for (const answer of unread) await expect(answer.text()).rejects.toThrow();
}, 60_000);
