import { randomBytes } from 'node:crypto';
import { copyFile, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { auditEvent } from '../../issuer/audit.ts';
import { verifyChain } from '../../issuer/audit-verify.ts';
import { openSqliteAuditReader } from '../../issuer/registry/sqlite/audit-reader.ts';
import { backupDatabase } from '../../issuer/registry/sqlite/backup.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { restoreDatabase } from '../../issuer/registry/sqlite/restore.ts';
import { startIssuer } from '../../issuer/start-issuer.ts';
import { enroll } from '../support/enrolling-device.ts';
import {
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
let backup: string;

beforeEach(async () => {
  fixture = await issuerFixture();
  backup = join(fixture.directory, 'backup.db');
});

const takeBackup = () => backupDatabase(fixture.database, backup);

interface Token {
  text: string;
  jti: string;
}

async function issued(client: RegisteredClient): Promise<Token> {
  const response = await fixture.tokenFor(client);
  const { access_token: text } = (await response.json()) as { access_token: string };
  const { jti } = JSON.parse(Buffer.from(text.split('.')[1] as string, 'base64url').toString());
  return { text, jti };
}

const revoke = async (body: object) =>
  expect((await fixture.call('POST', '/v1/revocations', body)).status).toBeLessThan(300);

/** Stops the issuer, restores, and opens what is there then. */
async function restored(nowMs = Date.now()) {
  await fixture.issuer.close();
  const report = await restoreDatabase(backup, fixture.database, nowMs);
  const registry = await openSqliteRegistry(fixture.database);
  onTestFinished(() => registry.close());
  const isRevoked = ({ text }: Token) => {
    const [header = '', payload = ''] = text.split('.');
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString());
    const { jti, client_id, iat } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return registry.isRevoked({ tokenId: jti, clientId: client_id, issuedAtSeconds: iat, keyId: kid });
  };
  return { report, registry, isRevoked };
}

async function trail(file: string) {
  const reader = openSqliteAuditReader(file);
  onTestFinished(() => reader.close());
  const { events } = await reader.search({ limit: 1000 });
  const verdict = await verifyChain(
    (async function* () {
      yield* events;
    })(),
  );
  return { events, verdict };
}

test('a backup taken while tokens are issued is one whole private file with a trail that verifies', async () => {
  const client = await fixture.register({ client_id: 'a' });
  // Enough pages for several steps, so that commits fall between them.
  await Promise.all(
    Array.from({ length: 150 }, (_, i) =>
      fixture.register({ client_id: `c${i}`, metadata: { filler: randomBytes(3000).toString('hex') } }),
    ),
  );
  let isDone = false;
  let tokens = 0;
  let steps = 0;
  const issuing = (async () => {
    while (!isDone) {
      expect((await fixture.tokenFor(client)).status).toBe(200);
      tokens += 1;
    }
  })();
  const report = await backupDatabase(fixture.database, backup, () => {
    steps += 1;
  });
  isDone = true;
  await issuing;
  expect(report).toMatchObject({ clients: 151, checkpoint: { sequence: expect.any(Number) } });
  expect({ tokens: tokens > 0, steps: steps > 1 }).toEqual({ tokens: true, steps: true });
  expect((await stat(backup)).mode & 0o777).toBe(0o600);
  expect((await readdir(fixture.directory)).filter((name) => name.includes(basename(backup)))).toEqual([
    'backup.db',
  ]);
  const { verdict } = await trail(backup);
  expect(verdict).toMatchObject({ isIntact: true, last: report.checkpoint });
});

test('a backup replaces the one before, and leaves it when it fails', async () => {
  await takeBackup();
  const before = await readFile(backup);
  await fixture.register({ client_id: 'a' });
  await takeBackup();
  expect((await readFile(backup)).equals(before)).toBe(false);
  const after = await readFile(backup);
  const missing = join(fixture.directory, 'missing.db');
  await expect(backupDatabase(missing, backup)).rejects.toMatchObject({ code: 'registry_unavailable' });
  expect((await readFile(backup)).equals(after)).toBe(true);
});

test('neither the database itself nor a place that is no file is written to', async () => {
  for (const target of [fixture.database, fixture.directory]) {
    await expect(backupDatabase(fixture.database, target)).rejects.toMatchObject({
      code: 'backup_failed',
    });
  }
  const nowhere = join(fixture.directory, 'missing', 'backup.db');
  await expect(backupDatabase(fixture.database, nowhere)).rejects.toMatchObject({
    code: 'backup_failed',
  });
  expect((await fixture.call('GET', '/v1/clients')).status).toBe(200);
});

test('the key that encrypts the signing keys is not in a backup', async () => {
  await takeBackup();
  expect((await readFile(backup)).includes(await readFile(fixture.keyFile))).toBe(false);
});

test('a claim code that was used or revoked since opens nothing again', async () => {
  await fixture.call('PUT', '/v1/templates/box', { id: 'box-{serial}' });
  const open = async () => {
    const made = await fixture.call('POST', '/v1/enrollments', { template: 'box' });
    return (await made.json()) as { enrollment_id: string; claim_code: string };
  };
  const [used, revoked, unused] = [await open(), await open(), await open()];
  await takeBackup();
  const { url } = fixture.issuer;
  const bodyOf = (claim_code: string, serial: string) => ({
    claim_code,
    device: { serial },
    nonce: randomBytes(32).toString('base64url'),
  });
  expect((await enroll(url, bodyOf(used.claim_code, '1'))).status).toBe(201);
  await fixture.call('POST', `/v1/enrollments/${revoked.enrollment_id}/revoke`);
  const { registry } = await restored();
  await registry.close();
  const again = await startIssuer(issuerOptions(fixture.directory));
  onTestFinished(() => again.close());
  const ask = async (code: string) => (await enroll(again.url, bodyOf(code, '2'))).body.error ?? 'enrolled';
  expect([await ask(used.claim_code), await ask(revoked.claim_code), await ask(unused.claim_code)]).toEqual([
    'enrollment_exhausted',
    'enrollment_revoked',
    'enrolled',
  ]);
});

test('restoring revives no token that was revoked since, of whatever kind the revocation was', async () => {
  const [a, b, c, d] = await Promise.all(
    ['a', 'b', 'c', 'd'].map((client_id) => fixture.register({ client_id })),
  );
  const tokens = await Promise.all([a, b, c, d].map((client) => issued(client as RegisteredClient)));
  await takeBackup();
  const later = await issued(d as RegisteredClient);
  await revoke({ kind: 'token', jti: tokens[0]?.jti });
  await revoke({ kind: 'client', client_id: 'b' });
  await fixture.call('DELETE', '/v1/clients/c');
  const { report, isRevoked } = await restored();
  expect(report).toMatchObject({ known: 'all', carriedRevocations: 3, revokedBefore: undefined });
  expect(await Promise.all([...tokens, later].map(isRevoked))).toEqual([true, true, true, false, false]);
});

test('a key revoked since signs nothing and is not published after a restore', async () => {
  const { kid } = fixture.issuer.jwks().keys[0] as { kid: string };
  const client = await fixture.register({ client_id: 'a' });
  const token = await issued(client);
  await takeBackup();
  expect((await fixture.call('POST', `/v1/keys/${kid}/retire`, { compromised: true })).status).toBe(200);
  const { isRevoked } = await restored();
  expect(await isRevoked(token)).toBe(true);
  const again = await startIssuer(issuerOptions(fixture.directory));
  onTestFinished(() => again.close());
  expect(again.jwks().keys.map((key) => key.kid)).not.toContain(kid);
});

test('what comes back and what is gone is reported, and a client quarantined since stays so', async () => {
  for (const client_id of ['kept', 'deleted', 'quarantined']) await fixture.register({ client_id });
  await takeBackup();
  await fixture.call('DELETE', '/v1/clients/deleted');
  await fixture.register({ client_id: 'new' });
  const answer = await fixture.call('POST', '/v1/clients/quarantined/quarantine', { reason: 'x' });
  expect(answer.status).toBeLessThan(300);
  const { report, registry } = await restored();
  expect(report).toMatchObject({
    back: { count: 1, names: ['deleted'] },
    gone: { count: 1, names: ['new'] },
    changed: { count: 1, names: ['quarantined'] },
  });
  expect(await registry.findClient('deleted')).toBeDefined();
  expect(await registry.findClient('new')).toBeUndefined();
  expect((await registry.findClient('quarantined'))?.quarantine).toBeDefined();
});

test('a quarantine is marked after a restore, though the client was revoked to that second before', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const token = await issued(client);
  await revoke({ kind: 'client', client_id: 'a' });
  await takeBackup();
  expect((await fixture.call('POST', '/v1/clients/a/quarantine', { reason: 'x' })).status).toBe(200);
  const { registry, isRevoked } = await restored();
  const revocations = await registry.listRevocations({ nowSeconds: 0, limit: 10 });
  expect(revocations.map((one) => one.kind === 'client' && one.isQuarantined === true)).toEqual([
    false,
    true,
  ]);
  expect(await isRevoked(token)).toBe(true);
});

test('a quarantine in the backup is marked after it is restored', async () => {
  await fixture.register({ client_id: 'a' });
  expect((await fixture.call('POST', '/v1/clients/a/quarantine', { reason: 'x' })).status).toBe(200);
  await takeBackup();
  const { registry, report } = await restored();
  expect(report.carriedRevocations).toBe(0);
  expect(await registry.listRevocations({ nowSeconds: 0, limit: 10 })).toMatchObject([
    { kind: 'client', clientId: 'a', isQuarantined: true },
  ]);
});

test('the trail goes on from that of the backup with the restore, which names where the replaced one ended', async () => {
  const { checkpoint } = await takeBackup();
  await fixture.register({ client_id: 'a' });
  const { report } = await restored();
  const { events, verdict } = await trail(fixture.database);
  const replaced = await trail(report.asideFile as string);
  const last = replaced.verdict.isIntact ? replaced.verdict.last : undefined;
  expect(verdict).toMatchObject({ isIntact: true });
  expect(events.at(-1)).toMatchObject({
    actor: 'operator',
    action: 'database.restore',
    target: `${last?.sequence}:${last?.hash}`,
    sequence: (checkpoint?.sequence ?? 0) + 1,
  });
});

test.each<[string, 'nothing' | 'some', () => Promise<void>]>([
  ['is missing', 'nothing', () => removeDatabase()],
  ['is damaged', 'nothing', () => writeFile(fixture.database, randomBytes(20_000))],
  [
    'is another, started anew',
    'some',
    async () => {
      await removeDatabase();
      await (await startIssuer(issuerOptions(fixture.directory))).close();
    },
  ],
])('where the database to replace %s every token issued so far is revoked', async (_name, known, lose) => {
  const client = await fixture.register({ client_id: 'a' });
  const token = await issued(client);
  await takeBackup();
  await fixture.issuer.close();
  // Another database is encrypted with the same key file or makes its own.
  await lose();
  const nowMs = Date.now();
  const { report, registry, isRevoked } = await restored(nowMs);
  expect(report).toMatchObject({ known, revokedBefore: Math.floor(nowMs / 1000) + 1 });
  expect(await isRevoked(token)).toBe(true);
  const { events, verdict } = await trail(fixture.database);
  expect(verdict.isIntact).toBe(true);
  expect(events.slice(-2).map(({ action }) => action)).toEqual(['database.restore', 'issued_before.revoke']);
  expect(await registry.findClient('a')).toBeDefined();
});

async function removeDatabase(): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(`${fixture.database}${suffix}`, { force: true });
}

test('the client of a restored database gets tokens again at once', async () => {
  const client = await fixture.register({ client_id: 'a' });
  await takeBackup();
  await fixture.issuer.close();
  await removeDatabase();
  await restoreDatabase(backup, fixture.database, Date.now());
  const again = await startIssuer(issuerOptions(fixture.directory));
  onTestFinished(() => again.close());
  const response = await fetch(`${again.url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: 'a',
      client_secret: client.client_secret,
    }),
  });
  expect(response.status).toBe(200);
});

test('nothing is restored over a database that a process has open', async () => {
  await takeBackup();
  await fixture.register({ client_id: 'a' });
  const restoring = restoreDatabase(backup, fixture.database, Date.now());
  await expect(restoring).rejects.toMatchObject({ code: 'data_directory_in_use' });
  expect((await fixture.call('GET', '/v1/clients/a')).status).toBe(200);
});

test.each<[string, string, () => Promise<void>]>([
  ['that is missing', 'registry_unavailable', () => rm(backup)],
  ['that is no database', 'registry_unavailable', () => writeFile(backup, randomBytes(9000))],
  ['of another program', 'registry_unavailable', () => foreign()],
  ['that was cut short', 'backup_failed', async () => truncate(backup)],
])('a backup %s is refused, and the database is as it was', async (_name, code, damage) => {
  await fixture.register({ client_id: 'a' });
  await takeBackup();
  await damage();
  await fixture.issuer.close();
  const before = await readFile(fixture.database);
  const restoring = restoreDatabase(backup, fixture.database, Date.now());
  await expect(restoring).rejects.toMatchObject({
    code: expect.stringMatching(`${code}|registry_unavailable`),
  });
  expect((await readFile(fixture.database)).equals(before)).toBe(true);
  expect(await readdir(dirname(fixture.database))).not.toContainEqual(expect.stringContaining('restore'));
});

async function foreign(): Promise<void> {
  await rm(backup);
  const other = new Sqlite(backup);
  other.exec('CREATE TABLE theirs (x)');
  other.close();
}

async function truncate(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.truncate(8192);
  await handle.close();
}

test('a backup of an older schema is brought to the newest as it is restored', async () => {
  await fixture.issuer.close();
  const { migrations } = await import('../../issuer/registry/sqlite/migrations.ts');
  const old = new Sqlite(backup);
  old.exec(
    `${migrations[0]}; ${migrations[1]}; PRAGMA user_version = 2; PRAGMA application_id = ${0x464c5447};`,
  );
  old.close();
  await copyFile(backup, `${backup}.old`);
  const { registry } = await restored();
  await registry.recordEvent(auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' }));
  expect((await trail(fixture.database)).verdict).toMatchObject({ isIntact: true });
  expect((await readFile(backup)).equals(await readFile(`${backup}.old`))).toBe(true);
});
