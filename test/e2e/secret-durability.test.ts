import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { afterAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const CLIENTS = 40;
const ROUNDS = 3;

const data = temporaryDirectory();
afterAll(() => data.remove());

interface Rotated {
  secret_id: string;
  client_secret: string;
  error?: string;
  /** Only of a list. */
  secrets?: { secret_id: string }[];
}

/** What was answered for one client: its newest secret is good, and those before it are not. */
interface Known {
  newest: string;
  newestId: string | undefined;
  readonly ended: string[];
}

test('every rotation that was answered survives kill -9 whole, and what was not answered is there whole or not at all', async () => {
  const known = new Map<string, Known>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
    try {
      const api = apiOf(fleetgate);
      if (round === 0) {
        for (let i = 0; i < CLIENTS; i += 1) {
          const { client_secret } = await api('POST', '/clients', { client_id: `device-${i}` });
          const { secrets } = await api('GET', `/clients/device-${i}/secrets`);
          known.set(`device-${i}`, { newest: client_secret, newestId: secrets?.[0]?.secret_id, ended: [] });
        }
      }
      await checkAll(known, fleetgate);
      await rotateUntilKilled(known, fleetgate, round);
    } finally {
      await fleetgate.stop('SIGKILL');
    }
  }
  const last = await startFleetgate(['up', ...freePorts(data.path)]);
  try {
    await checkAll(known, last);
  } finally {
    expect(await last.stop()).toBe(0);
  }
});

function apiOf({ ready }: RunningFleetgate) {
  const apiKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  return async (method: string, path: string, body?: unknown): Promise<Rotated> => {
    const response = await fetch(`${ready['admin']}/v1${path}`, {
      method,
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await response.json()) as Rotated;
  };
}

/** Rotates all clients again and again, without an overlap, until a moment in the midst of it. */
async function rotateUntilKilled(
  known: Map<string, Known>,
  fleetgate: RunningFleetgate,
  round: number,
): Promise<void> {
  const api = apiOf(fleetgate);
  let answered = 0;
  await Promise.allSettled(
    Array.from(known, async ([clientId, client]) => {
      for (;;) {
        const rotated = await api('POST', `/clients/${clientId}/secrets`, { overlap_seconds: 0 });
        client.ended.push(client.newest);
        client.newest = rotated.client_secret;
        client.newestId = rotated.secret_id;
        answered += 1;
        if (answered === 100 + round * 7) fleetgate.process.kill('SIGKILL');
      }
    }),
  );
  expect(answered).toBeGreaterThanOrEqual(100);
}

async function checkAll(known: Map<string, Known>, fleetgate: RunningFleetgate): Promise<void> {
  const issuer = fleetgate.ready['issuer'] as string;
  const database = new Sqlite(join(data.path, 'fleetgate.db'), { readonly: true });
  const secretsOf = database.prepare<[string], { secret_id: string; expires_at_ms: number | null }>(`
    SELECT secret_id, expires_at_ms FROM client_secrets JOIN clients USING (registration) WHERE client_id = ?
    ORDER BY client_secrets.created_at_ms, expires_at_ms IS NULL`);
  const rotations = database
    .prepare<[string], number>(
      "SELECT count(*) FROM audit WHERE action = 'secret.rotate' AND result = 'ok' AND target = ?",
    )
    .pluck();
  for (const [clientId, client] of known) {
    const secrets = secretsOf.all(clientId);
    const isNewestLive = secrets.at(-1)?.secret_id === client.newestId;
    const answered = client.ended.length;
    // One more may have been written than was answered: then its row in the audit is there, and it ended ours.
    expect(rotations.get(clientId), clientId).toBe(isNewestLive ? answered : answered + 1);
    expect(
      secrets.filter(({ expires_at_ms }) => expires_at_ms === null),
      clientId,
    ).toHaveLength(1);
    expect(await statusOf(issuer, clientId, client.newest), clientId).toBe(isNewestLive ? 200 : 401);
    const ended = client.ended.at(-1);
    if (ended !== undefined) expect(await statusOf(issuer, clientId, ended), clientId).toBe(401);
    if (!isNewestLive) {
      // Nobody has the one that was not answered: as an operator would, ask for another.
      const { client_secret, secret_id } = await apiOf(fleetgate)('POST', `/clients/${clientId}/secrets`, {
        overlap_seconds: 0,
      });
      client.ended.push(client.newest, 'the one that was not answered');
      client.newest = client_secret;
      client.newestId = secret_id;
    }
  }
  database.close();
}

/** The many secrets that have ended are failures of one address, which may have to wait for them. */
async function statusOf(issuer: string, clientId: string, secret: string): Promise<number> {
  for (;;) {
    const { status, headers } = await requestToken(issuer, clientId, secret);
    if (status !== 429) return status;
    await sleep(Number(headers.get('retry-after')) * 1000);
  }
}
