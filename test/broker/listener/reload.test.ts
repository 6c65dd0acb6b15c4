import { once } from 'node:events';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type RunningBroker, startBroker } from '@fleetgate/broker';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connackOf, connectPacket, rawClient } from '../../support/broker-raw-client.ts';
import { testIssuer } from '../../support/broker-tokens.ts';
import {
  type Authority,
  type CertificateFolder,
  certificateFolder,
  createAuthority,
} from '../../support/certificates.ts';

const issuer = testIssuer();
const protocols = ['mqtts', 'wss'] as const;

interface Setting {
  readonly broker: RunningBroker;
  readonly authority: Authority;
  readonly folder: CertificateFolder;
  /** Writes a new server certificate and its key. */
  renew(name: string, by?: Authority): Promise<void>;
}

async function start(): Promise<Setting> {
  const authority = await createAuthority();
  const folder = certificateFolder();
  onTestFinished(folder.remove);
  const renew = async (name: string, by = authority) => {
    const { cert, key } = await by.issue(name);
    folder.write('server.pem', cert);
    folder.write('server.key', key);
  };
  const tls = {
    certFile: `${folder.path}/server.pem`,
    keyFile: `${folder.path}/server.key`,
    clientCaFile: folder.write('ca.pem', authority.cert),
  };
  await renew('first');
  const broker = await startBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    listeners: [
      ...protocols.map((protocol) => ({ protocol, host: '127.0.0.1', port: 0, tls })),
      { protocol: 'mqtt', host: '127.0.0.1', port: 0 },
    ],
  });
  onTestFinished(() => broker.close());
  return { broker, authority, folder, renew };
}

async function connect({ broker, authority }: Setting, protocol: 'mqtts' | 'wss', more = {}) {
  const { port } = new URL(broker.urls[protocol] as string);
  const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: authority.cert, ...more });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  onTestFinished(() => void socket.destroy());
  return socket;
}

const nameOf = (socket: TLSSocket) => socket.getPeerCertificate().subject.CN;

async function names(setting: Setting): Promise<string[]> {
  return Promise.all(protocols.map(async (protocol) => String(nameOf(await connect(setting, protocol)))));
}

test('new connections get the new certificate, and live ones stay', async () => {
  const setting = await start();
  const { broker, authority } = setting;
  const client = await rawClient(broker.urls.mqtts as string, { tls: { ca: authority.cert } });
  const token = issuer.token({ clientId: 'device-1' });
  expect(await connackOf(client, connectPacket('device-1', token))).toBe(0);
  expect(await names(setting)).toEqual(['first', 'first']);
  await setting.renew('second');
  expect(await names(setting)).toEqual(['first', 'first']);
  await broker.reloadCertificates();
  expect(await names(setting)).toEqual(['second', 'second']);
  expect(await client.settle()).toEqual([]);
});

test('a session of before is not resumed', async () => {
  const setting = await start();
  const socket = await connect(setting, 'mqtts', { maxVersion: 'TLSv1.2' });
  const session = socket.getSession();
  const resumed = await connect(setting, 'mqtts', { maxVersion: 'TLSv1.2', session });
  expect(resumed.isSessionReused()).toBe(true);
  await setting.broker.reloadCertificates();
  const anew = await connect(setting, 'mqtts', { maxVersion: 'TLSv1.2', session });
  expect(anew.isSessionReused()).toBe(false);
});

test('client certificates are judged by the new authorities', async () => {
  const setting = await start();
  const { broker, folder, authority } = setting;
  const other = await createAuthority('another');
  const { cert, key } = await other.issue('device-1');
  const connack = async () => {
    try {
      const client = await rawClient(broker.urls.mqtts as string, { tls: { ca: authority.cert, cert, key } });
      return await connackOf(client, connectPacket('device-1', issuer.token({ clientId: 'device-1' })));
    } catch {
      return 'closed';
    }
  };
  expect(await connack()).toBe('closed');
  folder.write('ca.pem', other.cert);
  await broker.reloadCertificates();
  expect(await connack()).toBe(0);
});

describe('a file that is not good leaves everything as it was', () => {
  test.each<[string, (setting: Setting) => unknown]>([
    ['no certificate', ({ folder }) => folder.write('server.pem', 'x')],
    [
      'a key of another certificate',
      async ({ folder, authority }) => folder.write('server.key', (await authority.issue('x')).key),
    ],
    [
      'a key others may read',
      async ({ folder, authority }) => folder.write('server.key', (await authority.issue('x')).key, 0o644),
    ],
    ['no authority', ({ folder }) => folder.write('ca.pem', '')],
  ])('%s', async (_what, spoil) => {
    const setting = await start();
    await setting.renew('second');
    await spoil(setting);
    await expect(setting.broker.reloadCertificates()).rejects.toMatchObject({ code: 'tls_file_invalid' });
    expect(await names(setting)).toEqual(['first', 'first']);
    await setting.renew('third');
    setting.folder.write('ca.pem', setting.authority.cert);
    await setting.broker.reloadCertificates();
    expect(await names(setting)).toEqual(['third', 'third']);
  });
});

test('a broker without TLS has nothing to reload', async () => {
  const broker = await startBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    listeners: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
  });
  onTestFinished(() => broker.close());
  await broker.reloadCertificates();
});

test('a start with a bad file leaves no listener behind', async () => {
  const { folder, broker } = await start();
  await broker.close();
  const { port } = new URL(broker.urls.mqtt as string);
  folder.write('server.pem', 'x');
  const tls = { certFile: `${folder.path}/server.pem`, keyFile: `${folder.path}/server.key` };
  const options = {
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    listeners: [
      { protocol: 'mqtt', host: '127.0.0.1', port: Number(port) },
      { protocol: 'mqtts', host: '127.0.0.1', port: 0, tls },
    ],
  } as const;
  await expect(startBroker(options)).rejects.toMatchObject({ code: 'tls_file_invalid' });
  await expect(rawClient(broker.urls.mqtt as string)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
