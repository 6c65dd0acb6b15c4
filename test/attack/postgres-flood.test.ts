import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { coapCode, encodeMessage, OSCORE_OPTION } from '@fleetgate/shared';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { distantServer } from '../support/distant-server.ts';
import {
  databaseIn,
  type IssuerFixture,
  issuerFixture,
  type RegisteredClient,
  temporaryDirectory,
} from '../support/issuer-fixture.ts';

// What asks the database for each request must not hold up who asks for a token, also where the database is not near.

/** Each way to the database. */
const DELAY_MS = 10;
/** On one connection, one behind the other, unanswered. */
const REQUESTS = 3000;

/** As many as are served at once. */
const CONTEXTS = 1000;

let fixture: IssuerFixture;
let client: RegisteredClient;

beforeEach(async () => {
  const near = new URL(databaseIn(await temporaryDirectory()));
  const port = await distantServer(Number(near.port), DELAY_MS);
  near.port = String(port);
  fixture = await issuerFixture({ database: near.href, coap: { host: '127.0.0.1', port: 0 } });
  client = await fixture.register({ client_id: 'honest' });
  expect((await fixture.tokenFor(client)).status).toBe(200);
});

/** Sends the request so many times at once on one connection; how often each status was answered. */
async function pipelined(request: string, count: number): Promise<Map<string, number>> {
  const socket = connect(fixture.issuer.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const last = request.replace('host: x', 'host: x\r\nconnection: close');
  const received: Buffer[] = [];
  socket.on('data', (bytes) => received.push(bytes));
  socket.write(request.repeat(count - 1) + last);
  await once(socket, 'close');
  const statuses = new Map<string, number>();
  for (const [, status = ''] of Buffer.concat(received)
    .toString('latin1')
    .matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  return statuses;
}

const revocations = (token: string) =>
  `GET /revocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`;
const posted = (path: string, type: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const introspection = (own: Record<string, string>) =>
  posted('/oauth/introspect', 'x-www-form-urlencoded', new URLSearchParams(own).toString());
const enrolling = (more: object) => posted('/enroll', 'json', JSON.stringify({ device: {}, ...more }));

test.each<[string, number[], (own: Record<string, string>) => string]>([
  ['shows tokens that nobody made', [401], () => revocations('a.b.AAAA')],
  ['shows its own token where it is not let in', [403], ({ token }) => revocations(token as string)],
  ['introspects its own token', [200], introspection],
  ['introspects what nobody made', [200], (own) => introspection({ ...own, token: 'a.b.AAAA' })],
  ['introspects with a wrong secret', [401, 429], (own) => introspection({ ...own, client_secret: 'x' })],
  ['enrolls with a code of nobody', [401, 429], () => enrolling({ claim_code: 'A'.repeat(28) })],
  [
    'enrolls by an enrollment that there is not',
    [401, 429],
    () => enrolling({ enrollment: 'x', proof: 'x' }),
  ],
  ['enrolls with U+0000', [400, 401, 429], () => enrolling({ enrollment: 'x\0', proof: 'x' })],
])('who %s again and again holds up nobody', async (_name, expected, requestOf) => {
  const { client_id, client_secret } = await fixture.register({ client_id: 'greedy' });
  const answer = await fixture.tokenFor({ client_id, client_secret });
  const { access_token: token } = (await answer.json()) as { access_token: string };
  const begunMs = performance.now();
  const flood = pipelined(requestOf({ client_id, client_secret, token }), REQUESTS);
  const asked = Array.from({ length: 10 }, () => fixture.tokenFor(client));
  const answers = await Promise.all([...asked, fixture.call('GET', '/v1/clients?limit=1')]);
  // And when all of the flood is there.
  const later = [await fixture.tokenFor(client), await fixture.call('GET', '/v1/clients?limit=1')];
  const tookMs = performance.now() - begunMs;
  expect(later.map((one) => one.status)).toEqual([200, 200]);
  expect(answers.map((one) => one.status)).toEqual(Array(11).fill(200));
  const statuses = await flood;
  expect([...statuses.keys()].filter((status) => !expected.includes(Number(status)))).toEqual([]);
  expect([...statuses.values()].reduce((sum, count) => sum + count)).toBe(REQUESTS);
  // One query for each over ten connections would take longer.
  expect(tookMs).toBeLessThan(((REQUESTS * 2 * DELAY_MS) / 10) * 0.8);
});

test('who names contexts that nobody has, over CoAP and from many addresses, holds up nobody', async () => {
  const port = Number(new URL(fixture.issuer.coapUrl as string).port);
  const sockets = Array.from({ length: CONTEXTS }, () => createSocket('udp4'));
  onTestFinished(() => {
    for (const socket of sockets) socket.close();
  });
  await Promise.all(
    sockets.map((socket, i) => {
      socket.bind(0, `127.1.${i >> 8}.${i & 255}`);
      return once(socket, 'listening');
    }),
  );
  const answered = once(sockets[0] as Socket, 'message');
  const begunMs = performance.now();
  for (const [i, socket] of sockets.entries()) {
    // Flags, the number, and the kid (RFC 8613 §6.1).
    const value = Buffer.concat([Buffer.of(9, 1), Buffer.from(String(i))]);
    const options = [{ number: OSCORE_OPTION, value }];
    const payload = Buffer.alloc(80);
    socket.send(
      encodeMessage({
        type: 'CON',
        code: coapCode.POST,
        messageId: i,
        token: Buffer.of(1),
        options,
        payload,
      }),
      port,
      '127.0.0.1',
    );
    // So that the issuer's socket has room for them.
    if (i % 50 === 49) await new Promise(setImmediate);
  }
  await answered;
  const answers = await Promise.all([fixture.tokenFor(client), fixture.call('GET', '/v1/clients?limit=1')]);
  const tookMs = performance.now() - begunMs;
  expect(answers.map((one) => one.status)).toEqual([200, 200]);
  // One query for each over seven connections would take twice as long.
  expect(tookMs).toBeLessThan((CONTEXTS * 2 * DELAY_MS) / 7 / 2);
});
