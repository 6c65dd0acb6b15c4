import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChainedEvent, openAuditReader, verifyChain } from '@fleetgate/issuer';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isPostgresMissing } from '../../bench/postgres.ts';
import { runFleetgate } from '../support/fleetgate-process.ts';
import { type PostgresIssuers, startPostgresIssuers } from '../support/postgres-issuers.ts';

const isLong = process.env['FLEETGATE_LONG'] !== undefined;
/** Devices of the provisioning job. */
const DEVICES = isLong ? 200_000 : 20_000;
const LOAD_MS = isLong ? 180_000 : 45_000;
/** Between two issuers that are killed. */
const KILL_EVERY_MS = isLong ? 20_000 : 9_000;
/** Clients whose secrets are rotated and whose tokens are revoked, each by one worker. */
const WORKERS = 8;
let running: PostgresIssuers;

beforeAll(async () => {
  if (isPostgresMissing) return;
  running = await startPostgresIssuers();
});
afterAll(() => running?.stop());

interface Seen {
  /** The secret each client was told last. */
  readonly secrets: Map<string, string>;
  readonly issued: Set<string>;
  readonly revoked: Set<string>;
  readonly keys: Set<string>;
  /** Answers that no client should have got. */
  readonly errors: string[];
  tokens: number;
}

/** Asks for tokens, revokes some and rotates its secret, until the load is over. */
async function load(clientId: string, seen: Seen, isOver: () => boolean): Promise<void> {
  const created = await running.callAdmin('POST', '/clients', {
    client_id: clientId,
    scope: 'telemetry.write',
  });
  if (created.status !== 201) seen.errors.push(`create ${clientId}: ${created.status}`);
  let { client_secret: secret } = (await created.json()) as { client_secret: string };
  for (let i = 1; !isOver(); i += 1) {
    const answer = await running.tokenOf(clientId, secret);
    if (answer.status !== 200) {
      seen.errors.push(`token of ${clientId}: ${answer.status} ${await answer.text()}`);
      continue;
    }
    const { access_token: token } = (await answer.json()) as { access_token: string };
    const [header, payload] = token
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString())) as [
      { kid: string },
      { jti: string },
    ];
    seen.issued.add(payload.jti);
    seen.keys.add(header.kid);
    seen.tokens += 1;
    if (i % 10 === 0) {
      const revoked = await running.callAdmin('POST', '/revocations', { kind: 'token', jti: payload.jti });
      if (revoked.ok) seen.revoked.add(payload.jti);
      else seen.errors.push(`revocation: ${revoked.status}`);
    }
    if (i % 25 === 0) {
      const rotated = await running.callAdmin('POST', `/clients/${clientId}/secrets`, { overlap_seconds: 0 });
      if (rotated.ok) ({ client_secret: secret } = (await rotated.json()) as { client_secret: string });
      else seen.errors.push(`rotation of ${clientId}: ${rotated.status} ${await rotated.text()}`);
    }
  }
  seen.secrets.set(clientId, secret);
}

/** Kills one issuer after the other and starts it again; how often. */
async function killInTurn(isOver: () => boolean): Promise<number> {
  let kills = 0;
  while (!isOver()) {
    await sleep(KILL_EVERY_MS);
    const n = kills % running.issuers.length;
    kills += 1;
    await running.restart(n);
  }
  return kills;
}

/** Looks at the signing keys all the time; how often another number than one was active. */
async function watchKeys(isOver: () => boolean): Promise<{ looks: number; wrong: number }> {
  const client = new pg.Client({ connectionString: running.postgres.url('issuers').replace(/\?.*/, '') });
  // Ends with the server where the test has failed.
  client.on('error', () => {});
  await client.connect();
  let [looks, wrong] = [0, 0];
  while (!isOver()) {
    const { rows } = await client.query(
      "SELECT count(*)::int AS active FROM issuers.signing_keys WHERE state = 'active'",
    );
    looks += 1;
    if (rows[0].active !== 1) wrong += 1;
    await sleep(20);
  }
  await client.end();
  return { looks, wrong };
}

async function rotateKeys(isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await running.callAdmin('POST', '/keys/rotate', { now: true });
    await sleep(LOAD_MS / 8);
  }
}

async function provision(): Promise<{ code: number | null; stderr: string }> {
  const rows = Array.from({ length: DEVICES }, (_, i) => `S${i},${i % 10}\r\n`);
  writeFileSync(join(running.directory, 'devices.csv'), `serial,plant\r\n${rows.join('')}`);
  writeFileSync(
    join(running.directory, 'sensor.yaml'),
    'template: sensor\nid: sensor-{serial}\nscope: telemetry.write\ngroup: plant-{plant}\n',
  );
  const connection = [...['--admin-url', running.adminUrl], ...['--admin-key-file', running.adminKeyFile]];
  const applied = await runFleetgate([
    'template',
    'apply',
    join(running.directory, 'sensor.yaml'),
    ...connection,
  ]);
  if (applied.code !== 0) return applied;
  return runFleetgate([
    ...['fleet', 'provision', '--template', 'sensor', '--from', join(running.directory, 'devices.csv')],
    ...['--out', join(running.directory, 'credentials.jsonl'), ...connection],
  ]);
}

test.skipIf(isPostgresMissing)(
  `two issuers on one PostgreSQL lose no answered act, whichever of them is killed (${DEVICES} devices)`,
  {
    timeout: LOAD_MS + 300_000,
  },
  async () => {
    const endMs = Date.now() + LOAD_MS;
    let isProvisioned = false;
    const isOver = () => Date.now() > endMs && isProvisioned;
    const seen: Seen = {
      secrets: new Map(),
      issued: new Set(),
      revoked: new Set(),
      keys: new Set(),
      errors: [],
      tokens: 0,
    };
    const provisioning = provision().finally(() => {
      isProvisioned = true;
    });
    const [kills, keys] = await Promise.all([
      killInTurn(isOver),
      watchKeys(isOver),
      rotateKeys(isOver),
      ...Array.from({ length: WORKERS }, (_, n) => load(`worker-${n}`, seen, isOver)),
    ]);
    const provisioned = await provisioning;
    console.log(
      `${kills} kills, ${seen.tokens} tokens under ${seen.keys.size} keys, ${seen.revoked.size} revoked`,
    );
    expect([provisioned.code, provisioned.stderr]).toEqual([
      0,
      expect.stringContaining(`${DEVICES} of ${DEVICES} devices`),
    ]);
    expect(seen.errors).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(Math.floor(LOAD_MS / KILL_EVERY_MS) - 2);
    expect(keys.wrong).toBe(0);
    expect(keys.looks).toBeGreaterThan(LOAD_MS / 200);
    expect(seen.keys.size).toBeGreaterThan(3);

    const lines: { client_id: string; auth: { client_secret: string } }[] = [];
    for await (const line of createInterface({
      input: createReadStream(join(running.directory, 'credentials.jsonl')),
    })) {
      lines.push(JSON.parse(line));
    }
    expect(new Set(lines.map(({ client_id }) => client_id)).size).toBe(DEVICES);
    expect(lines).toHaveLength(DEVICES);
    for (let i = 0; i < 200; i += 1) {
      const { client_id, auth } = lines[Math.floor(Math.random() * DEVICES)] as (typeof lines)[number];
      expect([client_id, (await running.tokenOf(client_id, auth.client_secret)).status]).toEqual([
        client_id,
        200,
      ]);
    }
    for (const [clientId, secret] of seen.secrets) {
      expect([clientId, (await running.tokenOf(clientId, secret)).status]).toEqual([clientId, 200]);
    }

    const { rows } = await running.postgres.query(`SELECT
    (SELECT count(*)::int FROM issuers.clients WHERE template = 'sensor') AS clients,
    (SELECT count(DISTINCT hash)::int FROM issuers.client_secrets JOIN issuers.clients USING (registration)
      WHERE template = 'sensor') AS secrets,
    (SELECT count(*)::int FROM issuers.revocations WHERE kind = 'token') AS revoked`);
    expect(rows[0]).toMatchObject({ clients: DEVICES, secrets: DEVICES });
    expect(rows[0].revoked).toBeGreaterThanOrEqual(seen.revoked.size);
    await checkTrail(seen);
  },
);

/** The chain is whole, and it has whatever was answered. */
async function checkTrail({ issued, revoked }: Seen): Promise<void> {
  const inTrail = { issued: new Set<string>(), revoked: new Set<string>() };
  const reader = await openAuditReader(running.postgres.url('issuers'));
  async function* events(): AsyncGenerator<ChainedEvent> {
    let after: number | undefined;
    do {
      const page = await reader.search({ after, limit: 1000 });
      for (const event of page.events) {
        if (event.action === 'token.issue' && event.result === 'ok')
          inTrail.issued.add(event.tokenId as string);
        if (event.action === 'token.revoke' && event.result === 'ok')
          inTrail.revoked.add(event.tokenId ?? (event.target as string));
        yield event;
      }
      after = page.nextAfter;
    } while (after !== undefined);
  }
  expect(await verifyChain(events())).toMatchObject({ isIntact: true });
  await reader.close();
  expect([...issued].filter((id) => !inTrail.issued.has(id))).toEqual([]);
  expect([...revoked].filter((id) => !inTrail.revoked.has(id))).toEqual([]);
}
