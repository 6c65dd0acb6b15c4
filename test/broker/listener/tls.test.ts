import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import { attack, startTestBroker, type TestBroker } from '../../support/broker-fixture.ts';
import {
  closeOf,
  connackOf,
  connectPacket,
  type RawClientOptions,
  rawClientOn,
} from '../../support/broker-raw-client.ts';
import { createAuthority, type Pair, type TestTls, testTls } from '../../support/certificates.ts';

type ClientTls = NonNullable<RawClientOptions['tls']> & Record<string, unknown>;

let tls: TestTls;
let device: Pair;
beforeAll(async () => {
  tls = await testTls();
  device = await tls.authority.issue('device-1');
});

/** What becomes of a client with a good token: its CONNACK code, or `closed` in the handshake or behind it. */
async function outcome(broker: TestBroker, clientTls: ClientTls): Promise<number | 'closed'> {
  try {
    const client = await broker.raw({ tls: clientTls });
    return await connackOf(client, connectPacket('device-1', broker.token('device-1')));
  } catch {
    return 'closed';
  }
}

const asked = () => ({ tls: { clientCaFile: tls.caFile } as never });
const required = () => ({ tls: { clientCaFile: tls.caFile, requireClientCert: true } as never });

function thumbprints(broker: TestBroker): (string | undefined)[] {
  return Array.from(
    broker.auth.connections as unknown as ReadonlySet<{ peer: { certificateThumbprint?: string } }>,
    ({ peer }) => peer.certificateThumbprint,
  );
}

const thumbprintOf = ({ cert }: Pair) =>
  createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url');

describe.each(['mqtts', 'wss'] as const)('%s', (protocol) => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s', async (version) => {
    const broker = await startTestBroker({ protocol });
    expect(await outcome(broker, { minVersion: version, maxVersion: version })).toBe(0);
  });

  test('does not speak TLS 1.1', async () => {
    const broker = await startTestBroker({ protocol });
    // OpenSSL itself refuses it unless told otherwise.
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    expect(await outcome(broker, old)).toBe('closed');
    expect(await broker.refusal({ reason: 'tls_refused' })).toMatchObject({ address: '127.0.0.1' });
  });

  test.each(['ECDHE-ECDSA-AES256-SHA', 'ECDHE-ECDSA-AES128-SHA256'])('does not take %s', async (cipher) => {
    const broker = await startTestBroker({ protocol });
    expect(await outcome(broker, { maxVersion: 'TLSv1.2', ciphers: cipher })).toBe('closed');
    expect(await broker.refusal({ reason: 'tls_refused' })).toBeDefined();
  });

  test('a client that does not ask for a certificate of ours notices nothing', async () => {
    const broker = await startTestBroker({ protocol });
    expect(await outcome(broker, device as unknown as ClientTls)).toBe(0);
    expect(thumbprints(broker)).toEqual([undefined]);
  });

  attack('plain text in place of a handshake is closed', { protocol }, async (broker) => {
    const socket = connectSocket(Number(new URL(broker.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    socket.write('GET / HTTP/1.1\r\nHost: broker\r\n\r\n');
    await closeOf(socket);
    expect(await broker.refusal({ reason: 'tls_refused' })).toMatchObject({ action: 'connect' });
  });

  test('a client cannot renegotiate', async () => {
    const broker = await startTestBroker({ protocol });
    const socket = await secureSocket(broker, { maxVersion: 'TLSv1.2' });
    const failed = new Promise((resolve) => {
      socket.once('error', resolve);
      socket.once('close', resolve);
    });
    socket.renegotiate({}, () => {});
    await failed;
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'with %s, where a client certificate is asked for',
    (version) => {
      const withVersion = (more: object = {}): ClientTls => ({
        minVersion: version,
        maxVersion: version,
        ...more,
      });

      test('a client without one is served', async () => {
        const broker = await startTestBroker({ protocol, listener: asked() });
        expect(await outcome(broker, withVersion())).toBe(0);
        expect(thumbprints(broker)).toEqual([undefined]);
      });

      test('the thumbprint of a good one is known', async () => {
        const broker = await startTestBroker({ protocol, listener: asked() });
        expect(await outcome(broker, withVersion(device))).toBe(0);
        expect(thumbprints(broker)).toEqual([thumbprintOf(device)]);
      });

      test.each(['asked for', 'required'])('%s, one of another authority is refused', async (how) => {
        const foreign = await (await createAuthority()).issue('device-1');
        const listener = how === 'required' ? required() : asked();
        const broker = await startTestBroker({ protocol, listener });
        expect(await outcome(broker, withVersion(foreign))).toBe('closed');
        expect(await broker.refusal({ reason: 'tls_refused' })).toMatchObject({ action: 'connect' });
        expect(broker.auth.connections.size).toBe(0);
      });

      test.each(['asked for', 'required'])('%s, an expired one is refused', async (how) => {
        const expired = await tls.authority.issue('device-1', {
          from: new Date(Date.now() - 7_200_000),
          to: new Date(Date.now() - 3_600_000),
        });
        const listener = how === 'required' ? required() : asked();
        const broker = await startTestBroker({ protocol, listener });
        expect(await outcome(broker, withVersion(expired))).toBe('closed');
        expect(await broker.refusal({ reason: 'tls_refused' })).toBeDefined();
      });

      test('required, a client without one is refused', async () => {
        const broker = await startTestBroker({ protocol, listener: required() });
        expect(await outcome(broker, withVersion())).toBe('closed');
        expect(await broker.refusal({ reason: 'tls_refused' })).toMatchObject({ action: 'connect' });
        expect(broker.auth.connections.size).toBe(0);
      });

      test('required, a client with one is served', async () => {
        const broker = await startTestBroker({ protocol, listener: required() });
        expect(await outcome(broker, withVersion(device))).toBe(0);
      });
    },
  );
});

test.each(['TLSv1.2', 'TLSv1.3'])(
  'a session resumed with %s keeps its certificate, while that is valid',
  async (version) => {
    const withVersion = (more: object) => ({ minVersion: version, maxVersion: version, ...more });
    const broker = await startTestBroker({ protocol: 'mqtts', listener: required() });
    const expiresAtMs = Math.ceil(Date.now() / 1000) * 1000 + 1_000;
    const brief = await tls.authority.issue('device-1', { to: new Date(expiresAtMs) });
    const first = await secureSocket(broker, withVersion(brief));
    const session = await sessionOf(first);
    first.destroy();

    const resumed = await secureSocket(broker, withVersion({ ...brief, session }));
    expect(resumed.isSessionReused()).toBe(true);
    const client = rawClientOn(resumed);
    expect(await connackOf(client, connectPacket('device-1', broker.token('device-1')))).toBe(0);
    expect(thumbprints(broker)).toEqual([thumbprintOf(brief)]);
    resumed.destroy();

    await new Promise((resolve) => setTimeout(resolve, expiresAtMs + 20 - Date.now()));
    const late = await secureSocket(broker, withVersion({ ...brief, session }));
    expect(late.isSessionReused()).toBe(true);
    await new Promise((resolve) => late.once('close', resolve));
    expect(await broker.refusal({ reason: 'tls_refused' })).toBeDefined();
  },
);

attack('a logger that throws ends nothing', { protocol: 'mqtts', log: throwing() }, async (broker) => {
  const socket = connectSocket(Number(new URL(broker.url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await closeOf(socket);
});

function throwing() {
  const fail = () => {
    throw new Error('the disk is full');
  };
  return { debug: fail, info: fail, warn: fail, error: fail };
}

test('a port that is only looked at is no refusal', async () => {
  const broker = await startTestBroker({ protocol: 'mqtts' });
  const socket = connectSocket(Number(new URL(broker.url).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.end();
  await closeOf(socket);
  expect(await outcome(broker, {})).toBe(0);
  expect(broker.refusals).toEqual([]);
});

async function secureSocket(broker: TestBroker, more: Record<string, unknown>): Promise<TLSSocket> {
  const { port } = new URL(broker.url);
  const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: tls.authority.cert, ...more });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.resume();
  return socket;
}

/** What resumes it; with TLS 1.3 it comes behind the handshake. */
async function sessionOf(socket: TLSSocket): Promise<Buffer> {
  if (socket.getProtocol() === 'TLSv1.2') return socket.getSession() as Buffer;
  const [session] = (await once(socket, 'session')) as [Buffer];
  return session;
}
