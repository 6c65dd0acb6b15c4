import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { assertionForm, clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { derivedKey, enroll, groupProof } from '../support/enrolling-device.ts';
import {
  adminKey,
  type IssuerFixture,
  issuerFixture,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

// Who has the credentials of one device, and two issuers on one registry to play off against each other.

/** Less than what a token is good before it was issued. */
const SKEW_MS = 4000;

let a: IssuerFixture;
/** Its clock is ahead. */
let b: IssuerFixture;
/** `iss` of both. */
let iss: string;

beforeEach(async () => {
  const limits = { maxClientTokensPerSecond: 1000, maxAddressRequestsPerSecond: 10_000 };
  a = await issuerFixture({ limits });
  iss = a.issuer.url;
  b = await issuerFixture({
    url: iss,
    limits,
    database: a.database,
    keyEncryptionKeyFile: a.keyFile,
    now: () => Date.now() + SKEW_MS,
  });
});

const both = () => [a, b];
const post = ({ issuer }: IssuerFixture, path: string, form: Record<string, string>) =>
  fetch(`http://127.0.0.1:${issuer.port}${path}`, { method: 'POST', body: new URLSearchParams(form) });
const statusesOf = async (answers: readonly Promise<Response>[]) =>
  (await Promise.all(answers)).map(({ status }) => status);
/** One of them was let in; the others were refused, or told to come back later. */
function expectOne(statuses: readonly number[], good: number, bad: number): void {
  expect(statuses.filter((status) => status === good)).toHaveLength(1);
  expect(statuses.filter((status) => ![good, bad, 429].includes(status))).toEqual([]);
}

async function isActive(issuer: IssuerFixture, token: string): Promise<boolean> {
  const answer = await issuer.call('POST', '/recipe/oauth/introspect', { token });
  return ((await answer.json()) as { active: boolean }).active;
}

const TOKENS_BEFORE = 10;
const REQUESTS_AFTER = 20;

/** Asks one issuer for tokens, one after the other, also when `end` has ended that; by when it had all that it got. */
async function askOn(issuer: IssuerFixture, { client_id, client_secret }: RegisteredClient) {
  const form = { grant_type: 'client_credentials', client_id, client_secret };
  const got: { token: string; askedAtMs: number }[] = [];
  const statuses = new Set<number>();
  let endedAtMs: number | undefined;
  let isUnderWay = () => {};
  const underWay = new Promise<void>((resolve) => {
    isUnderWay = resolve;
  });
  const asking = (async () => {
    for (let after = 0; after < REQUESTS_AFTER; after += endedAtMs === undefined ? 0 : 1) {
      const askedAtMs = performance.now();
      const answer = await post(issuer, '/oauth/token', form);
      statuses.add(answer.status);
      const { access_token: token } = (await answer.json()) as { access_token?: string };
      if (token !== undefined) got.push({ token, askedAtMs });
      if (got.length === TOKENS_BEFORE) isUnderWay();
    }
  })();
  await underWay;
  return {
    async ended() {
      endedAtMs = performance.now();
      await asking;
      expect(got.filter(({ askedAtMs }) => askedAtMs > (endedAtMs as number))).toEqual([]);
      return { tokens: got.map(({ token }) => token), statuses: [...statuses] };
    },
  };
}

describe('a proof that was used at one is used at the other', () => {
  test('for a token, also where both get it at once', async () => {
    const pair = clientKeyPair();
    await a.register({ client_id: 'd', auth_method: 'private_key_jwt', jwks: pair.jwks });
    for (let round = 0; round < 10; round += 1) {
      const form = assertionForm(clientAssertion(pair, 'd', iss));
      expectOne(
        await statusesOf([...both(), ...both()].map((issuer) => post(issuer, '/oauth/token', form))),
        200,
        401,
      );
    }
  });

  test('for an introspection, and a token after it', async () => {
    const pair = clientKeyPair();
    await a.register({ client_id: 'd', auth_method: 'private_key_jwt', jwks: pair.jwks });
    const form = assertionForm(clientAssertion(pair, 'd', iss));
    const introspect = (issuer: IssuerFixture) => post(issuer, '/oauth/introspect', { ...form, token: 'x' });
    const statuses = await statusesOf([introspect(a), introspect(b), post(b, '/oauth/token', form)]);
    expectOne(statuses, 200, 401);
  });

  test('of a group key, at the door', async () => {
    await a.call('PUT', '/v1/templates/line', { id: 'sensor-{registration_id}' });
    const opened = await a.call('POST', '/v1/enrollments', { template: 'line', kind: 'group_key' });
    const { enrollment_id, primary_key } = (await opened.json()) as Record<string, string>;
    const proof = groupProof(derivedKey(primary_key as string, 'x-1'), 'x-1', iss);
    const body = { enrollment: enrollment_id, proof, device: {} };
    const answers = await Promise.all(
      both().map(({ issuer }) => enroll(`http://127.0.0.1:${issuer.port}`, body)),
    );
    expectOne(
      answers.map(({ status }) => status),
      201,
      401,
    );
  });
});

describe('what one was told to end is ended at the other when it is answered', () => {
  test.each<[string, number, () => Promise<Response>]>([
    [
      'a secret that is rotated',
      401,
      () => a.call('POST', '/v1/clients/d/secrets', { overlap_seconds: 0, revoke_tokens: true }),
    ],
    ['a client that is deleted', 401, () => a.call('DELETE', '/v1/clients/d')],
    ['a client in quarantine', 401, () => a.call('POST', '/v1/clients/d/quarantine', { reason: 'r' })],
  ])('%s', async (_name, refused, end) => {
    const client = await a.register({ client_id: 'd' });
    const askers = await Promise.all([b, b, b, a].map((issuer) => askOn(issuer, client)));
    expect((await end()).ok).toBe(true);
    for (const { tokens, statuses } of await Promise.all(askers.map((asker) => asker.ended()))) {
      expect(statuses.filter((status) => ![200, refused, 429].includes(status))).toEqual([]);
      expect(statuses).toContain(refused);
      for (const token of tokens)
        for (const issuer of both()) expect(await isActive(issuer, token)).toBe(false);
    }
  });

  test('an id that is registered anew gets no life into the tokens of before, and its own are good', async () => {
    for (let round = 0; round < 5; round += 1) {
      const client = await b.register({ client_id: 'd' });
      const asker = await askOn(b, client);
      expect((await a.call('DELETE', '/v1/clients/d')).ok).toBe(true);
      const again = await a.register({ client_id: 'd' });
      const { tokens } = await asker.ended();
      const { client_id, client_secret } = again;
      for (const issuer of both()) {
        const form = { grant_type: 'client_credentials', client_id, client_secret };
        const answer = await post(issuer, '/oauth/token', form);
        // The clock of one is behind the revocation: its tokens are of a later second, or it says when to come back.
        expect([200, 503]).toContain(answer.status);
        if (answer.status !== 200) continue;
        const { access_token } = (await answer.json()) as { access_token: string };
        for (const at of both()) expect(await isActive(at, access_token)).toBe(true);
      }
      for (const token of tokens) for (const at of both()) expect(await isActive(at, token)).toBe(false);
      expect((await b.call('DELETE', '/v1/clients/d')).ok).toBe(true);
    }
  });
});

describe('of what both are asked for at once, one does', () => {
  test('a client of one id', async () => {
    for (const client_id of ['x', 'y', 'z']) {
      expectOne(
        await statusesOf(both().map((issuer) => issuer.call('POST', '/v1/clients', { client_id }))),
        201,
        409,
      );
    }
  });

  test('a client by one idempotency key', async () => {
    const headers = { 'api-key': adminKey, 'idempotency-key': 'k' };
    const answers = await Promise.all(
      [...both(), ...both()].map((issuer) => issuer.call('POST', '/v1/clients', { name: 'n' }, headers)),
    );
    const made = (await Promise.all(answers.map((answer) => answer.json()))) as Record<string, unknown>[];
    expect(new Set(made.map((one) => one['client_id'])).size).toBe(1);
    expect(made.filter((one) => one['client_secret'] !== undefined)).toHaveLength(1);
  });

  test('a place of an enrollment', async () => {
    await a.call('PUT', '/v1/templates/one', { id: 'one-{serial}' });
    const opened = await a.call('POST', '/v1/enrollments', { template: 'one', max_uses: 1 });
    const { claim_code } = (await opened.json()) as Record<string, string>;
    const answers = await Promise.all(
      [...both(), ...both()].map(({ issuer }, i) =>
        enroll(`http://127.0.0.1:${issuer.port}`, {
          claim_code,
          device: { serial: String(i) },
          nonce: randomBytes(32).toString('base64url'),
        }),
      ),
    );
    expectOne(
      answers.map(({ status }) => status),
      201,
      403,
    );
  });

  test('a rotation of a secret, where a third would live', async () => {
    const client = await a.register({ client_id: 'd' });
    const answers = await Promise.all(
      [...both(), ...both()].map((issuer) =>
        issuer.call('POST', '/v1/clients/d/secrets', { overlap_seconds: 60 }),
      ),
    );
    const secrets = (await Promise.all(answers.map((answer) => answer.json()))) as {
      client_secret?: string;
    }[];
    const rotated = secrets.flatMap(({ client_secret }) => client_secret ?? []);
    const grants = [client.client_secret, ...rotated].map((client_secret) =>
      post(b, '/oauth/token', { grant_type: 'client_credentials', client_id: 'd', client_secret }),
    );
    // Two secrets live at a time: a rotation that would make a third was refused, and told nobody a secret.
    expect(rotated).toHaveLength(1);
    expect(await statusesOf(grants)).toEqual([200, 200]);
  });

  test('a rotation of the signing keys', async () => {
    await Promise.all(both().map((issuer) => issuer.call('POST', '/v1/keys/rotate', { now: true })));
    const answers = await Promise.all(both().map((issuer) => issuer.call('GET', '/v1/keys')));
    const [first, second] = await Promise.all(answers.map((answer) => answer.json()));
    expect(first).toEqual(second);
    const states = (first as { keys: { state: string }[] }).keys.map(({ state }) => state);
    expect(states.filter((state) => state === 'active')).toHaveLength(1);
  });
});
