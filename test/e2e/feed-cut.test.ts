import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { remoteRevocations } from '../../broker/remote-revocations.ts';
import { until } from '../support/broker-fixture.ts';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

// The broker's reader of the feed against a real issuer, with a line between them that breaks.

interface Line {
  readonly port: number;
  readonly connections: () => number;
  /** Breaks what is connected; until `mend` new connections are broken as well. */
  cut(): void;
  mend(): void;
}

/** A TCP line to `port`. Each connection breaks after what `bytesOf` says of it. */
async function lineTo(port: number, bytesOf: (connection: number) => number = () => Infinity): Promise<Line> {
  const sockets = new Set<Socket>();
  let connections = 0;
  let isCut = false;
  const server = createServer((near) => {
    near.on('error', () => undefined);
    if (isCut) {
      near.resetAndDestroy();
      return;
    }
    let left = bytesOf(connections);
    connections += 1;
    const far = connect({ port, host: '127.0.0.1' });
    const breakBoth = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', breakBoth).on('close', breakBoth);
      socket.once('close', () => sockets.delete(socket));
    }
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes: Buffer) => {
      const passed = bytes.subarray(0, left);
      left -= passed.length;
      near.write(passed, () => {
        if (left <= 0) breakBoth();
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    mend() {
      isCut = false;
    },
  };
}

/** What the broker is told through the line: ids of tokens, `current` and `away`. */
async function follow({ register, tokenFor }: IssuerFixture, line: Line, random: () => number) {
  const client = await register({ scope: 'fleetgate.revocations' });
  const { access_token } = (await (await tokenFor(client)).json()) as { access_token: string };
  const told: string[] = [];
  const stop = remoteRevocations({
    url: `http://127.0.0.1:${line.port}/revocations`,
    token: async () => access_token,
    random,
  })({
    revoke: (revocation) => told.push(revocation.kind === 'token' ? revocation.tokenId : revocation.kind),
    current: () => told.push('current'),
    away: () => told.push('away'),
  });
  onTestFinished(stop);
  return told;
}

async function revoke({ call }: IssuerFixture, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 1) {
    const { status } = await call('POST', '/v1/revocations', { kind: 'token', jti: `jti-${n}` });
    expect(status).toBeLessThan(300);
  }
}

const range = (to: number) => Array.from({ length: to }, (_, n) => `jti-${n}`);
const onlyTokens = (told: readonly string[]) => told.filter((one) => one.startsWith('jti-'));

test('a feed that is cut for 10 s misses nothing of what was revoked meanwhile, and tells nothing twice', {
  timeout: 40_000,
}, async () => {
  const fixture = await issuerFixture();
  const line = await lineTo(fixture.issuer.port);
  // A tenth of the longest back-off each time: 3 s at the end of the cut.
  const told = await follow(fixture, line, () => 0.1);
  await revoke(fixture, 0, 5);
  await until(() => told.includes('jti-4') && told.includes('current'));
  line.cut();
  await until(() => told.at(-1) === 'away');
  const mended = sleep(10_000);
  await revoke(fixture, 5, 30);
  await mended;
  expect(onlyTokens(told)).toEqual(range(5));
  line.mend();
  await until(() => told.at(-1) === 'current');
  expect(onlyTokens(told)).toEqual(range(30));
  await revoke(fixture, 30, 35);
  await until(() => told.includes('jti-34'));
  expect(onlyTokens(told)).toEqual(range(35));
});

test('a feed that breaks at any byte of any event misses nothing, and tells nothing twice', async () => {
  const fixture = await issuerFixture();
  // The head of the answer has some 300 bytes, an event 150; each connection gets a little further than the last.
  const line = await lineTo(fixture.issuer.port, (connection) => 600 + 37 * connection);
  const told = await follow(fixture, line, () => 0);
  await revoke(fixture, 0, 60);
  await until(() => told.includes('jti-59'));
  expect(onlyTokens(told)).toEqual(range(60));
  expect(line.connections()).toBeGreaterThan(10);
});
