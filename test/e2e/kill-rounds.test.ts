import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChainedEvent, openAuditReader, verifyChain } from '@fleetgate/issuer';
import Sqlite from 'better-sqlite3';
import { afterAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const ROUNDS = 25;
/** Acts in flight at once. */
const WORKERS = 8;
/** A round is killed within this time after its first answer. */
const MAX_ROUND_MS = 250;

const data = temporaryDirectory();
afterAll(() => data.remove());

/** What was answered, over all rounds. */
interface Answered {
  /** Clients by id with their newest secret; those that were deleted are out of it. */
  readonly secrets: Map<string, string>;
  readonly deleted: Set<string>;
  /** Of clients whose last act was not answered: it may have been done or not. */
  readonly doubtful: Set<string>;
  readonly revokedTokens: Set<string>;
  readonly issuedTokens: Set<string>;
}

test(`what was answered in ${ROUNDS} rounds that kill -9 ended is there, and the audit trail agrees`, {
  timeout: 240_000,
}, async () => {
  const answered: Answered = {
    secrets: new Map(),
    deleted: new Set(),
    doubtful: new Set(),
    revokedTokens: new Set(),
    issuedTokens: new Set(),
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const running = await startFleetgate(['issuer', ...freePorts(data.path).slice(0, -2)]);
    await actUntilKilled(running, round, answered);
    checkDatabase(answered, round);
    await checkTrail(answered);
  }
  expect(answered.secrets.size).toBeGreaterThan(ROUNDS);
  expect(answered.deleted.size).toBeGreaterThan(0);
  expect(answered.revokedTokens.size).toBeGreaterThan(0);

  const running = await startFleetgate(['issuer', ...freePorts(data.path).slice(0, -2)]);
  try {
    const survivors = [...answered.secrets].filter(([clientId]) => !answered.doubtful.has(clientId));
    for (const [clientId, secret] of survivors.slice(-50)) {
      const response = await requestToken(running.ready['issuer'] as string, clientId, secret);
      expect([clientId, response.status]).toEqual([clientId, 200]);
    }
  } finally {
    expect(await running.stop()).toBe(0);
  }
});

/** Creates, rotates, issues, revokes and deletes, until a random moment. */
async function actUntilKilled(running: RunningFleetgate, round: number, answered: Answered): Promise<void> {
  const { issuer, admin } = running.ready as { issuer: string; admin: string };
  const apiKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  let isKilled = false;
  let isTimed = false;

  async function call(method: string, path: string, body?: unknown): Promise<Record<string, string>> {
    const response = await fetch(`${admin}/v1${path}`, {
      method,
      headers: { 'api-key': apiKey, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
    if (!isTimed) {
      isTimed = true;
      setTimeout(() => {
        isKilled = true;
        running.process.kill('SIGKILL');
      }, Math.random() * MAX_ROUND_MS);
    }
    return text === '' ? {} : (JSON.parse(text) as Record<string, string>);
  }

  async function act(clientId: string, i: number): Promise<void> {
    answered.doubtful.add(clientId);
    const created = await call('POST', '/clients', { client_id: clientId, scope: 'x' });
    answered.secrets.set(clientId, created['client_secret'] as string);
    const rotated = await call('POST', `/clients/${clientId}/secrets`, { overlap_seconds: 0 });
    answered.secrets.set(clientId, rotated['client_secret'] as string);
    const response = await requestToken(issuer, clientId, answered.secrets.get(clientId) as string);
    const { access_token } = (await response.json()) as { access_token: string };
    const { jti } = JSON.parse(Buffer.from(access_token.split('.')[1] as string, 'base64url').toString());
    answered.issuedTokens.add(jti);
    if (i % 2 === 0) {
      await call('POST', '/revocations', { kind: 'token', jti });
      answered.revokedTokens.add(jti);
    }
    if (i % 3 === 0) {
      await call('DELETE', `/clients/${clientId}`);
      answered.secrets.delete(clientId);
      answered.deleted.add(clientId);
    }
    answered.doubtful.delete(clientId);
  }

  await Promise.all(
    Array.from({ length: WORKERS }, async (_, worker) => {
      for (let i = 0; !isKilled; i += 1) {
        try {
          await act(`r${round}-w${worker}-${i}`, i + worker);
        } catch (error) {
          // Only because it is gone.
          if (!isKilled) throw error;
        }
      }
    }),
  );
  await running.stop('SIGKILL');
}

function checkDatabase({ secrets, deleted, doubtful, revokedTokens }: Answered, round: number): void {
  const database = new Sqlite(join(data.path, 'fleetgate.db'), { readonly: true });
  try {
    const texts = (sql: string) => new Set(database.prepare<[], string>(sql).pluck().all());
    const clients = texts('SELECT client_id FROM clients');
    const revoked = texts('SELECT token_id FROM revocations WHERE token_id IS NOT NULL');
    const missing = {
      created: [...secrets.keys()].filter((id) => !clients.has(id) && !doubtful.has(id)),
      deleted: [...deleted].filter((id) => clients.has(id)),
      revoked: [...revokedTokens].filter((jti) => !revoked.has(jti)),
      unasked: [...clients].filter((id) => !secrets.has(id) && !doubtful.has(id)),
    };
    expect({ round, ...missing }).toEqual({ round, created: [], deleted: [], revoked: [], unasked: [] });
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
  } finally {
    database.close();
  }
}

/** The trail is whole, and what is registered and revoked is what it says was done. */
async function checkTrail({ issuedTokens }: Answered): Promise<void> {
  const file = join(data.path, 'fleetgate.db');
  const reader = await openAuditReader(file);
  const database = new Sqlite(file, { readonly: true });
  try {
    const told = { clients: new Set<string>(), revoked: new Set<string>(), issued: new Set<string>() };
    async function* events(): AsyncGenerator<ChainedEvent> {
      let after: number | undefined;
      do {
        const page = await reader.search({ after, limit: 1000 });
        for (const event of page.events) {
          if (event.result === 'ok') note(event, told);
          yield event;
        }
        after = page.nextAfter;
      } while (after !== undefined);
    }
    expect(await verifyChain(events())).toMatchObject({ isIntact: true });
    const texts = (sql: string) => database.prepare<[], string>(sql).pluck().all();
    expect([...told.clients].sort()).toEqual(texts('SELECT client_id FROM clients ORDER BY client_id'));
    expect([...told.revoked].sort()).toEqual(
      texts('SELECT token_id FROM revocations WHERE token_id IS NOT NULL ORDER BY token_id'),
    );
    expect([...issuedTokens].filter((jti) => !told.issued.has(jti))).toEqual([]);
  } finally {
    await reader.close();
    database.close();
  }
}

function note(
  { action, target, tokenId }: ChainedEvent,
  told: { clients: Set<string>; revoked: Set<string>; issued: Set<string> },
): void {
  if (action === 'client.create') told.clients.add(target as string);
  if (action === 'client.delete') told.clients.delete(target as string);
  if (action === 'token.revoke') told.revoked.add(tokenId as string);
  if (action === 'token.issue') told.issued.add(tokenId as string);
}
