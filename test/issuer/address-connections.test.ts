import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { prometheusObserver } from '@fleetgate/issuer/metrics';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { issuerFixture } from '../support/issuer-fixture.ts';
import { parseMetrics } from '../support/prometheus-text.ts';
import { tlsIssuer } from '../support/tls-issuer.ts';

const MAX = 5;
const limits = { maxAddressConnections: MAX };

/** Open connections from an address of this machine that say nothing. */
async function openMany(port: number, count: number, localAddress = '127.0.0.2'): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1', localAddress }));
  for (const socket of sockets) socket.on('error', () => {});
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  return sockets;
}

const patient = { timeout: 10_000 };
const closedOf = (sockets: readonly Socket[]) => sockets.filter(({ closed }) => closed).length;

test('connections beyond those of one address are closed, and others are served', async () => {
  const fixture = await issuerFixture({ limits });
  const sockets = await openMany(fixture.issuer.port, MAX + 3);
  await expect.poll(() => closedOf(sockets), patient).toBe(3);
  expect((await fetch(`${fixture.issuer.url}/livez`)).status).toBe(200);
});

test('a place is free again when its connection has closed', async () => {
  const fixture = await issuerFixture({ limits });
  const sockets = await openMany(fixture.issuer.port, MAX);
  sockets[0]?.destroy();
  await expect
    .poll(async () => {
      const [one] = await openMany(fixture.issuer.port, 1);
      one?.write('GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      one?.resume();
      const [error] = (await Promise.race([
        once(one as Socket, 'end'),
        once(one as Socket, 'close'),
      ])) as unknown[];
      return error === undefined && (one?.bytesRead ?? 0) > 0;
    }, patient)
    .toBe(true);
});

test('with TLS too, in the middle of the handshake', async () => {
  const fixture = await tlsIssuer({ limits });
  const sockets = await openMany(fixture.issuer.port, MAX + 3);
  await expect.poll(() => closedOf(sockets), patient).toBe(3);
  const answer = await fixture.fetchWith()(`${fixture.issuer.url}/livez`);
  expect(answer.status).toBe(200);
});

test('the log has one line of it, and each is counted', async () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const register = new Registry();
  const fixture = await issuerFixture({ limits, log, observer: prometheusObserver(register) });
  const sockets = await openMany(fixture.issuer.port, MAX + 10);
  await expect.poll(() => closedOf(sockets), patient).toBe(10);
  const said = lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === 'connections_limited');
  expect(said).toEqual([expect.objectContaining({ address: '127.0.0.2', max: MAX })]);
  const refused = { listener: 'public', status: 'none', reason: 'connections_limited' };
  const { value } = parseMetrics(await register.metrics());
  expect(value('fleetgate_issuer_refusals_total', refused)).toBe(10);
});
