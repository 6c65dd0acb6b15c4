import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  jwtVerify,
} from 'jose';
import { connectAsync } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import {
  temporaryDirectory as dataDirectory,
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
} from '../support/fleetgate-process.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';
import { type IssuerProcess, startIssuerProcess } from '../support/issuer-server-process.ts';

const DAY_SECONDS = 86_400;

/** One client asks without a pause: what it may ask by default is below that. */
const limits = { maxClientTokensPerSecond: 100_000, maxAddressRequestsPerSecond: 100_000 };

/** `iss` where several processes, one after another or at once, are one issuer. */
const ISSUER = 'http://127.0.0.1:1';

/** A client of that issuer, and what it gets. */
async function registered(issuer: IssuerProcess, clientId = 'device') {
  const response = await issuer.call('POST', '/v1/clients', { client_id: clientId });
  const { client_secret } = (await response.json()) as { client_secret: string };
  return async (from = issuer): Promise<string> => {
    const answer = await from.requestToken(clientId, client_secret);
    const body = (await answer.json()) as { access_token?: string };
    if (body.access_token === undefined) throw new Error(`no token: ${JSON.stringify(body)}`);
    return body.access_token;
  };
}

const jwksUri = ({ address }: IssuerProcess) => new URL(`${address}/.well-known/jwks.json`);
const jwks = async (issuer: IssuerProcess): Promise<JSONWebKeySet> =>
  (await (await fetch(jwksUri(issuer))).json()) as JSONWebKeySet;

interface KeyRow {
  kid: string;
  state: string;
  activated_at_ms: number | null;
  retired_at_ms: number | null;
  has_private: 0 | 1;
}

function stored(directory: string): { keys: KeyRow[]; audit: { action: string; target: string }[] } {
  const database = new Sqlite(join(directory, 'fleetgate.db'), { readonly: true });
  try {
    return {
      keys: database
        .prepare<[], KeyRow>('SELECT *, encrypted_private_jwk IS NOT NULL AS has_private FROM signing_keys')
        .all(),
      audit: database
        .prepare<[], { action: string; target: string }>(
          "SELECT action, target FROM audit WHERE action LIKE 'key.%' ORDER BY sequence",
        )
        .all(),
    };
  } finally {
    database.close();
  }
}

/** What holds of the keys whatever happened. */
function expectWhole(directory: string): void {
  const { keys, audit } = stored(directory);
  for (const state of ['active', 'next']) expect(keys.filter((key) => key.state === state)).toHaveLength(1);
  for (const { state, has_private } of keys) expect(has_private).toBe(state === 'retired' ? 0 : 1);
  // The trail tells the same as the keys do: what was made, what was activated and what was retired.
  const targets = (action: string) => audit.flatMap((row) => (row.action === action ? [row.target] : []));
  const kids = (...states: string[]) =>
    keys.flatMap(({ kid, state }) => (states.includes(state) ? [kid] : []));
  expect(new Set(targets('key.activate'))).toEqual(new Set(kids('active', 'retired')));
  expect(new Set(targets('key.retire'))).toEqual(new Set(kids('retired')));
  expect(targets('key.activate')).toHaveLength(kids('active', 'retired').length);
}

interface Load {
  seconds: number;
  issuers: readonly IssuerProcess[];
  request: (from: IssuerProcess) => Promise<string>;
  /** A verifier that caches keys, and starts now. */
  newVerifier: (issuer: IssuerProcess) => ReturnType<typeof createRemoteJWKSet>;
  /** Between two verifiers that start and then stay. */
  verifierEverySeconds?: number;
}

/** Requests tokens without a pause, and has each verified at once by all verifiers there are. */
async function load({ seconds, issuers, request, newVerifier, verifierEverySeconds }: Load) {
  const failures: unknown[] = [];
  const kids = new Set<string | undefined>();
  const verifiers = issuers.map(newVerifier);
  let verifications = 0;
  const until = performance.now() + seconds * 1000;
  let nextVerifierAt = performance.now();
  const work = async () => {
    for (let turn = 0; performance.now() < until; turn += 1) {
      const issuer = issuers[turn % issuers.length] as IssuerProcess;
      if (verifierEverySeconds !== undefined && performance.now() > nextVerifierAt) {
        nextVerifierAt += verifierEverySeconds * 1000;
        verifiers.push(newVerifier(issuer));
      }
      try {
        const token = await request(issuer);
        kids.add(decodeProtectedHeader(token).kid);
        for (const verifier of verifiers) {
          await jwtVerify(token, verifier, {
            issuer: issuers[0]?.url as string,
            audience: 'mqtt',
            typ: 'at+jwt',
          });
          verifications += 1;
        }
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all([work(), work()]);
  return { failures, kids, verifications };
}

const verifierWith = (cooldownDuration: number) => (issuer: IssuerProcess) =>
  createRemoteJWKSet(jwksUri(issuer), { cooldownDuration });

test('no token is refused by a verifier that caches keys, through three rotations, whenever it started', async () => {
  const issuer = await startIssuerProcess(await temporaryDirectory(), {
    limits,
    keyRotationDays: 3 / DAY_SECONDS,
    keyPublishAheadSeconds: 2,
  });
  const { failures, kids, verifications } = await load({
    seconds: 11,
    issuers: [issuer],
    request: await registered(issuer),
    // As long before the next rotation as the 30 s of jose are before one of the issuer's defaults.
    newVerifier: verifierWith(2_000),
    verifierEverySeconds: 1,
  });
  expect(failures).toEqual([]);
  expect(kids.size).toBeGreaterThanOrEqual(4);
  expect(verifications).toBeGreaterThan(1000);
});

// jose asks for the keys again at most every 30 s; the next key is known by the one fetch and the one after by the next.
test.skipIf(process.env['FLEETGATE_LONG'] === undefined)(
  'for 60 s of load, with the default caching of jose (FLEETGATE_LONG=1)',
  async () => {
    const issuer = await startIssuerProcess(await temporaryDirectory(), {
      limits,
      keyRotationDays: 17 / DAY_SECONDS,
      keyPublishAheadSeconds: 16,
    });
    const { failures, kids, verifications } = await load({
      seconds: 60,
      issuers: [issuer],
      request: await registered(issuer),
      newVerifier: (issuer) => createRemoteJWKSet(jwksUri(issuer)),
    });
    process.stderr.write(`${verifications} verifications, ${kids.size} keys, ${failures.length} failures\n`);
    expect(failures).toEqual([]);
    expect(kids.size).toBe(4);
  },
  90_000,
);

test('two processes on one database rotate as one: each rotation once, and no token is refused', async () => {
  const directory = await temporaryDirectory();
  const options = { limits, url: ISSUER, keyRotationDays: 2 / DAY_SECONDS, keyPublishAheadSeconds: 1 };
  const issuers = await Promise.all([
    startIssuerProcess(directory, options),
    startIssuerProcess(directory, options),
  ]);
  const { failures, kids } = await load({
    seconds: 9,
    issuers,
    request: await registered(issuers[0]),
    newVerifier: verifierWith(500),
    verifierEverySeconds: 2,
  });
  expect(failures).toEqual([]);
  expect(kids.size).toBeGreaterThanOrEqual(4);
  expectWhole(directory);
  for (const { state, activated_at_ms, retired_at_ms } of stored(directory).keys) {
    if (state === 'retired')
      expect((retired_at_ms ?? 0) - (activated_at_ms ?? 0)).toBeGreaterThanOrEqual(2000);
  }
});

test('two processes that are told to rotate at once, again and again, never make two active keys', async () => {
  const directory = await temporaryDirectory();
  const issuers = await Promise.all([startIssuerProcess(directory), startIssuerProcess(directory)]);
  const request = await registered(issuers[0]);
  for (let round = 0; round < 6; round += 1) {
    const rotations = issuers.flatMap((issuer) =>
      [1, 2].map(() => issuer.call('POST', '/v1/keys/rotate', { now: true })),
    );
    const tokens = issuers.flatMap((issuer) => [1, 2, 3, 4].map(() => request(issuer)));
    for (const { status } of await Promise.all(rotations)) expect(status).toBe(200);
    const set = createLocalJWKSet(await jwks(issuers[round % 2] as IssuerProcess));
    for (const token of await Promise.all(tokens)) await jwtVerify(token, set);
    expectWhole(directory);
  }
  expect(stored(directory).audit.filter(({ action }) => action === 'key.retire')).toHaveLength(24);
});

test('kill -9 in the middle of rotations leaves whole keys, and every token that was answered verifies', async () => {
  const directory = await temporaryDirectory();
  let issuer = await startIssuerProcess(directory, { url: ISSUER });
  const request = await registered(issuer);
  const tokens: string[] = [];
  const activated: string[] = [];
  for (let round = 0; round < 6; round += 1) {
    const running = issuer;
    const answered = Promise.withResolvers<void>();
    const rotating = (async () => {
      // 4 a round: not more keys than are published at once.
      for (let i = 0; i < 4; i += 1) {
        const answer = await running.call('POST', '/v1/keys/rotate', { now: true });
        const { keys } = (await answer.json()) as { keys: { kid: string }[] };
        activated.push(keys[0]?.kid as string);
        answered.resolve();
      }
    })();
    const requesting = (async () => {
      for (;;) tokens.push(await request(running));
    })();
    const ended = Promise.allSettled([rotating, requesting]);
    // In the middle of the first one, or of what follows it.
    if (round % 2 === 1) await answered.promise;
    await sleep(3 + round * 6);
    await running.kill();
    await ended;
    issuer = await startIssuerProcess(directory, { url: ISSUER });
    expectWhole(directory);
    tokens.push(await request(issuer));
  }
  const set = createLocalJWKSet(await jwks(issuer));
  for (const token of tokens) await jwtVerify(token, set);
  const audited = stored(directory).audit.flatMap(({ action, target }) =>
    action === 'key.activate' ? [target] : [],
  );
  for (const kid of activated) expect(audited).toContain(kid);
  expect(activated.length).toBeGreaterThan(0);
});

test('brokers, with the issuer and apart from it, follow a rotation; a compromised key is refused by both', async () => {
  const data = dataDirectory();
  const remoteData = dataDirectory();
  onTestFinished(() => {
    data.remove();
    remoteData.remove();
  });
  const up = await startFleetgate(['up', ...freePorts(data.path)]);
  onTestFinished(async () => void (await up.stop()));
  const issuer = up.ready['issuer'] as string;
  const adminKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  const admin = (path: string, body: unknown) =>
    fetch(`${up.ready['admin']}${path}`, {
      method: 'POST',
      headers: { 'api-key': adminKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const reader = join(dirname(data.path), 'feed-reader.json');
  const scope = ['--scope', 'fleetgate.revocations'];
  const create = ['client', 'create', '--data', data.path, '--id', 'feed-reader', ...scope, '--out', reader];
  expect((await runFleetgate(create)).code).toBe(0);
  const remote = await startFleetgate([
    'broker',
    '--json',
    '--data',
    remoteData.path,
    ...[
      'admin.port=0',
      'broker.listeners.0.port=0',
      `broker.trusted_issuers.0.issuer=${issuer}`,
      `broker.trusted_issuers.0.jwks_uri=${issuer}/.well-known/jwks.json`,
      `broker.trusted_issuers.0.credentials_file=${reader}`,
    ].flatMap((set) => ['--set', set]),
  ]);
  onTestFinished(async () => void (await remote.stop()));

  const created = await admin('/v1/clients', { client_id: 'device' });
  const { client_secret } = (await created.json()) as { client_secret: string };
  const token = async () =>
    ((await (await requestToken(issuer, 'device', client_secret)).json()) as { access_token: string })
      .access_token;
  const connack = async (broker: string, password: string) => {
    const options = { clientId: 'device', username: 'device', password, reconnectPeriod: 0 };
    try {
      const client = await connectAsync(broker, options, false);
      await client.endAsync(true);
      return 0;
    } catch (error) {
      return (error as { code: number }).code;
    }
  };
  const brokers = [up.ready['mqtt'] as string, remote.ready['mqtt'] as string];

  const before = await token();
  for (const broker of brokers) expect(await connack(broker, before)).toBe(0);
  const rotated = await admin('/v1/keys/rotate', { now: true });
  expect(rotated.status).toBe(200);
  const after = await token();
  expect(decodeProtectedHeader(after).kid).not.toBe(decodeProtectedHeader(before).kid);
  for (const broker of brokers) {
    for (const each of [before, after]) expect(await connack(broker, each)).toBe(0);
  }

  const { kid } = decodeProtectedHeader(after);
  expect((await admin(`/v1/keys/${kid}/retire`, { compromised: true })).status).toBe(200);
  for (const broker of brokers) {
    await expect.poll(() => connack(broker, after), { timeout: 1000, interval: 50 }).toBe(4);
    expect(await connack(broker, before)).toBe(0);
  }
  // The broker apart has read the keys a moment ago, and asks again only half a minute later.
  expect(await connack(up.ready['mqtt'] as string, await token())).toBe(0);
});
