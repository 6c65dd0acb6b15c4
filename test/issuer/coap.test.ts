import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';
import {
  coapCode,
  decodeAceError,
  decodeAceResponse,
  encodeAceRequest,
  encodeCbor,
  OSCORE_OPTION,
  unprotectResponse,
} from '@fleetgate/shared';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { coapTransport } from '../../agent/index.ts';
import { rereadingTransport } from '../../agent/rereading-transport.ts';
import { reencryptSigningKeys } from '../../issuer/keys/reencrypt.ts';
import {
  type CoapFixture,
  coapFixture,
  contextOf,
  credentialsOf,
  peerOf,
  plainRequest,
  protectedDatagram,
  relayTo,
} from '../support/coap-fixture.ts';
import { rowsOf } from '../support/database.ts';
import { hasApps, isInFile, issuerFixture, issuerOptions } from '../support/issuer-fixture.ts';

const never = new AbortController().signal;
const timing = { ackTimeoutMs: 300, ackRandomFactor: 1.5, maxRetransmit: 2 };

let fixture: CoapFixture;
beforeEach(async () => {
  fixture = await coapFixture();
});

/** Asks as a device that answers challenges, with what the agent never sends. */
async function asker(clientId: string) {
  const context = contextOf(await fixture.device(clientId, { scope: 'a b' }));
  const peer = await peerOf(fixture.port);
  let number = 1000;
  const ask = async (more: Parameters<typeof plainRequest>[0] = {}, echo?: Uint8Array) => {
    number += 1;
    const { bytes, binding } = protectedDatagram(context, plainRequest(more, echo), number);
    peer.send(bytes);
    const answer = await peer.nextMessage(2000);
    if (answer === undefined) throw new Error('no answer');
    return unprotectResponse(context, answer, binding);
  };
  // By an ordinary request: one that is shorter than its challenge gets none.
  const challenge = await ask();
  const echo = challenge.options.find((option) => option.number === 252)?.value;
  let isFirst = true;
  return (more: Parameters<typeof plainRequest>[0] = {}) => {
    // Where other issuers may serve the device it is wanted with each request.
    const wanted = isFirst || !isInFile ? echo : undefined;
    isFirst = false;
    return ask(more, wanted);
  };
}

async function rows<Row>(sql: string): Promise<Row[]> {
  return rowsOf<Row>(fixture.database, sql);
}

describe('a token over CoAP', () => {
  test('is as one over HTTP, and in the audit trail', async () => {
    const credentials = await fixture.device('sensor-1', { group: 'hall', token_lifetime_seconds: 60 });
    const answer = await coapTransport(credentials)({}, never);
    expect(answer).toMatchObject({ token_type: 'Bearer', expires_in: 60, scope: 'telemetry.write' });
    const claims = decodeJwt(answer.access_token);
    expect(claims).toMatchObject({
      iss: fixture.issuer.url,
      sub: 'sensor-1',
      client_id: 'sensor-1',
      aud: ['mqtt'],
      scp: ['telemetry.write'],
      group: 'hall',
    });
    expect(
      await rows("SELECT actor, target, result, token_id, address FROM audit WHERE action = 'token.issue'"),
    ).toEqual([
      {
        actor: 'client:sensor-1',
        target: 'sensor-1',
        result: 'ok',
        token_id: claims.jti,
        address: '127.0.0.1',
      },
    ]);
  });

  test('has the scope that was asked for, and says so only where it is another', async () => {
    const ask = await asker('sensor-1');
    const wanted = await ask({ payload: encodeAceRequest({ scope: 'a' }) });
    expect(decodeAceResponse(wanted.payload)).toMatchObject({ expires_in: 900 });
    expect(decodeAceResponse(wanted.payload)).not.toHaveProperty('scope');
    expect(decodeAceResponse((await ask()).payload)).toMatchObject({ scope: 'a b' });
  });

  test('is in one message of at most 1024 bytes, or refused', async () => {
    const scopes = Array.from({ length: 60 }, (_, i) => `scope.${i}`);
    const credentials = await fixture.device('wide', { scope: scopes.join(' ') });
    await expect(coapTransport(credentials)({}, never)).rejects.toMatchObject({ code: 'invalid_scope' });
    for (const count of [1, 5, 10, 15]) {
      const asked = { scope: scopes.slice(0, count).join(' ') };
      const answer = await coapTransport(credentials)(asked, never).catch((error) => error);
      if (answer instanceof Error) expect(answer).toMatchObject({ code: 'invalid_scope' });
      else expect(answer).toMatchObject(asked);
    }
    expect(await coapTransport(credentials)({ scope: 'scope.1 scope.2' }, never)).toMatchObject({
      expires_in: 900,
    });
  });
});

describe('refused, inside OSCORE, is', () => {
  test.each<[string, Uint8Array, number, string]>([
    ['a scope it does not have', encodeAceRequest({ scope: 'c' }), 0x80, 'invalid_scope'],
    ['an audience it does not have', encodeAceRequest({ audience: 'other' }), 0x80, 'invalid_request'],
    ['the name of another client', encodeAceRequest({ clientId: 'sensor-2' }), 0x80, 'invalid_request'],
    ['another grant', encodeCbor(new Map([[33, 0]])), 0x80, 'unsupported_grant_type'],
    ['a client_secret', encodeCbor(new Map([[25, 'secret']])), 0x80, 'invalid_request'],
    ['what is no CBOR', Buffer.of(0xff), 0x80, 'invalid_request'],
    ['an empty payload', Buffer.alloc(0), 0x80, 'invalid_request'],
  ])('%s', async (_what, payload, code, error) => {
    const ask = await asker('sensor-1');
    const answer = await ask({ payload });
    expect(answer.code).toBe(code);
    expect(decodeAceError(answer.payload)?.code).toBe(error);
  });

  const path = { number: 11, value: Buffer.from('token') };
  test.each<[string, Parameters<typeof plainRequest>[0], number]>([
    ['another path', { options: [{ number: 11, value: Buffer.from('tokens') }] }, 0x84],
    ['no path', { options: [] }, 0x84],
    ['a GET', { code: 1 }, 0x85],
    ['another Content-Format', { options: [path, { number: 12, value: Buffer.of(50) }] }, 0x8f],
    [
      'a critical option that is not known',
      { options: [path, { number: 65_001, value: Buffer.of(1) }] },
      0x82,
    ],
    ['a query', { options: [path, { number: 15, value: Buffer.from('a=b') }] }, 0x82],
    ['a part of a request', { options: [path, { number: 27, value: Buffer.of(0x08) }] }, 0x82],
  ])('%s', async (_what, more, code) => {
    const ask = await asker('sensor-1');
    const answer = await ask(more);
    expect([answer.code, answer.payload.length]).toEqual([code, 0]);
  });

  test('a client in quarantine, as one whose context has ended', async () => {
    const credentials = await fixture.device('sensor-1');
    const transport = coapTransport(credentials);
    await transport({}, never);
    await fixture.call('POST', '/v1/clients/sensor-1/quarantine', { reason: 'x' });
    await expect(transport({}, never)).rejects.toMatchObject({ code: 'invalid_client' });
    await fixture.call('POST', '/v1/clients/sensor-1/release');
    await transport({}, never);
    const { secrets } = (await (await fixture.call('GET', '/v1/clients/sensor-1/secrets')).json()) as {
      secrets: { secret_id: string }[];
    };
    await fixture.call('DELETE', `/v1/clients/sensor-1/secrets/${secrets[0]?.secret_id}`);
    await expect(transport({}, never)).rejects.toMatchObject({ code: 'invalid_client' });
  });

  test('a flood of one client, who is told when to come back', async () => {
    fixture = await coapFixture({ limits: { maxClientTokensPerSecond: 1 } });
    const transport = coapTransport(await fixture.device('sensor-1'));
    for (let i = 0; i < 5; i += 1) await transport({}, never);
    await expect(transport({}, never)).rejects.toMatchObject({
      code: 'temporarily_unavailable',
      retryAfterMs: expect.any(Number),
    });
  });
});

test('a client that was deleted is unknown: the hint is no proof, and so no refusal', async () => {
  const credentials = await fixture.device('sensor-1');
  await fixture.call('DELETE', '/v1/clients/sensor-1');
  await expect(coapTransport(credentials, { timing })({}, never)).rejects.toMatchObject({
    code: 'token_request_failed',
    message: expect.stringContaining('without protection'),
  });
});

describe('rotation', () => {
  const rotate = async (body: object) => {
    const answer = await fixture.call('POST', '/v1/clients/sensor-1/secrets', body);
    return (await answer.json()) as { oscore: object; client_secret?: string; secret_id: string };
  };

  test('gives another context; both are good during the overlap, and the first use of it is recorded', async () => {
    const old = await fixture.device('sensor-1');
    await coapTransport(old)({}, never);
    const { oscore, client_secret } = await rotate({ until_new_is_used: true });
    expect(client_secret).toBeUndefined();
    const next = credentialsOf(fixture, 'sensor-1', oscore, old.token_endpoint as string);
    for (const credentials of [old, next, old]) await coapTransport(credentials)({}, never);
    const list = (await (await fixture.call('GET', '/v1/clients/sensor-1/secrets')).json()) as {
      secrets: { first_used_at?: string; expires_at?: string }[];
    };
    expect(list.secrets.map(({ first_used_at }) => typeof first_used_at)).toEqual(['string', 'string']);
    // A minute after the new one was used.
    expect(list.secrets.map(({ expires_at }) => typeof expires_at)).toEqual(['string', 'undefined']);
  });

  test('without an overlap ends the old one at once', async () => {
    const old = await fixture.device('sensor-1');
    const { oscore } = await rotate({ overlap_seconds: 0 });
    await expect(coapTransport(old)({}, never)).rejects.toMatchObject({ code: 'invalid_client' });
    const next = credentialsOf(fixture, 'sensor-1', oscore, old.token_endpoint as string);
    await coapTransport(next)({}, never);
  });
});

test('a context is in the database encrypted, and shown once', async () => {
  const { auth } = await fixture.device('sensor-1');
  if (auth.method !== 'oscore') throw new Error('no context');
  const stored = await rows<Record<string, unknown>>('SELECT * FROM client_secrets');
  const text = JSON.stringify(stored, (_key, value) =>
    value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value,
  );
  expect(Buffer.from(stored[0]?.['kid'] as Buffer).toString('hex')).toBe(auth.sender_id);
  expect(text).not.toContain(auth.master_secret);
  expect(text).not.toContain(Buffer.from(auth.master_secret, 'hex').toString('latin1'));
  for (const path of ['/v1/clients/sensor-1', '/v1/clients', '/v1/clients/sensor-1/secrets', '/v1/audit']) {
    expect(await (await fixture.call('GET', path)).text()).not.toContain(auth.master_secret);
  }
});

test('a context proves nothing over HTTP, nor a secret over CoAP', async () => {
  const { auth } = await fixture.device('sensor-1');
  if (auth.method !== 'oscore') throw new Error('no context');
  for (const client_secret of [
    auth.master_secret,
    Buffer.from(auth.master_secret, 'hex').toString('latin1'),
  ]) {
    expect((await fixture.tokenFor({ client_id: 'sensor-1', client_secret })).status).toBe(401);
  }
  await fixture.call('PATCH', '/v1/clients/sensor-1', { auth_method: 'client_secret_basic' });
  const transport = coapTransport(await credentialsAgain(auth));
  await expect(transport({}, never)).rejects.toMatchObject({ code: 'invalid_client' });
});

async function credentialsAgain(auth: object) {
  const { method: _method, sequence_file: _file, ...oscore } = auth as Record<string, string>;
  return credentialsOf(fixture, 'sensor-1', oscore, `${fixture.issuer.coapUrl}/token`);
}

test.runIf(hasApps)(
  'without CoAP no client can be registered for it, nor in an app, nor by a route that shows no context',
  async () => {
    const plain = await issuerFixture();
    const body = { client_id: 'a', auth_method: 'oscore' };
    const refused = await plain.call('POST', '/v1/clients', body);
    expect([refused.status, await refused.json()]).toMatchObject([400, { code: 'not_supported' }]);
    expect(plain.issuer.coapUrl).toBeUndefined();
    const app = (await (await fixture.call('POST', '/v1/apps', { app_id: 'plant' })).json()) as {
      admin_key: string;
    };
    const inApp = await fixture.call('POST', '/appid-plant/v1/clients', body, { 'api-key': app.admin_key });
    expect([inApp.status, await inApp.json()]).toMatchObject([400, { code: 'not_supported' }]);
    const recipe = await fixture.call('POST', '/recipe/oauth/clients', { tokenEndpointAuthMethod: 'oscore' });
    expect(recipe.status).toBe(400);
    expect(await recipe.text()).toContain('/v1/clients');
  },
);

test('a device that lost its sequence file goes on with numbers it never used', async () => {
  const credentials = await fixture.device('sensor-1');
  await coapTransport(credentials)({}, never);
  const files = readdirSync(fixture.directory).filter((file) => file.includes('.sequence-'));
  expect(files).toHaveLength(1);
  for (const file of files) rmSync(`${fixture.directory}/${file}`);
  await coapTransport(credentials)({}, never);
});

test('what one of two issuers on a database has served is not served by the other, nor answered under its nonce', async () => {
  const coap = { host: '127.0.0.1', port: 0 };
  const device = await fixture.device('sensor-1');
  const { url } = fixture.issuer;
  const second = await startIssuer(issuerOptions(fixture.directory, { coap, url }));
  onTestFinished(() => second.close());
  const ports = [fixture.port, Number(new URL(second.coapUrl as string).port)] as const;
  const sent: Buffer[][] = [[], []];
  const relays = await Promise.all(
    ports.map((port, i) =>
      relayTo(port, (datagram) => {
        // Confirmable requests alone, and not what is answered.
        if ((datagram[1] as number) === coapCode.POST) sent[i]?.push(Buffer.from(datagram));
        return [{ delayMs: 0 }];
      }),
    ),
  );
  const fetchAt = (i: number) =>
    coapTransport({ ...device, token_endpoint: `coap://127.0.0.1:${relays[i]}/token` })({}, never);
  // Both know the device by now.
  for (const i of [0, 1, 0, 1, 0]) await fetchAt(i);
  const issued = async () =>
    (await rows("SELECT 1 FROM audit WHERE action = 'token.issue' AND result = 'ok'")).length;
  expect(await issued()).toBe(5);

  const attacker = await Promise.all([peerOf(ports[1]), peerOf(ports[0])]);
  for (const [i, datagrams] of sent.entries()) {
    for (const [number, datagram] of datagrams.entries()) {
      // Another message id: it is another message, to who does not look inside.
      datagram.writeUInt16BE(number, 2);
      attacker[i]?.send(datagram);
      const answer = await attacker[i]?.nextMessage(2000);
      expect(answer).toBeDefined();
      const option = answer?.options.find(({ number }) => number === OSCORE_OPTION);
      // What is protected has a number of its own, and with it a nonce.
      if (answer?.payload.length !== 0) expect(option?.value.length).toBeGreaterThan(1);
    }
  }
  expect(await issued()).toBe(5);
});

test('an agent whose credentials file gets another context goes on with that', async () => {
  const credentials = await fixture.device('sensor-1');
  const file = { now: credentials };
  const notes: string[] = [];
  const transport = rereadingTransport(credentials, {
    read: async () => file.now,
    note: (text) => notes.push(text),
  });
  await transport.request({}, never);
  const answer = await fixture.call('POST', '/v1/clients/sensor-1/secrets', { overlap_seconds: 0 });
  const { oscore } = (await answer.json()) as { oscore: object };
  file.now = credentialsOf(fixture, 'sensor-1', oscore, credentials.token_endpoint as string);
  // Refused by the old one, inside OSCORE, it looks into the file.
  await transport.request({}, never);
  expect(notes).toEqual(['the new credentials are in use']);
});

test('contexts are encrypted under another key with the signing keys, and under that alone they are good', async () => {
  const devices = await Promise.all(['sensor-1', 'sensor-2', 'sensor-3'].map((id) => fixture.device(id)));
  await fixture.issuer.close();
  const { directory, database } = fixture;
  const newKeyFile = join(directory, 'new.key');
  const keys = { database, from: { file: fixture.keyFile }, to: { file: newKeyFile } };
  // Two signing keys and three contexts; and none again.
  expect([await reencryptSigningKeys(keys), await reencryptSigningKeys(keys)]).toEqual([5, 0]);
  const again = await startIssuer(
    issuerOptions(directory, {
      coap: { host: '127.0.0.1', port: 0 },
      url: fixture.issuer.url,
      keyEncryptionKeyFile: newKeyFile,
    }),
  );
  try {
    for (const device of devices) {
      const moved = { ...device, token_endpoint: `${again.coapUrl}/token` };
      expect(await coapTransport(moved)({}, never)).toMatchObject({ expires_in: 900 });
    }
  } finally {
    await again.close();
  }
});
