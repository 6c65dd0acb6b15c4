import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import {
  type Authority,
  type CertificateFolder,
  certificateFolder,
  createAuthority,
} from '../support/certificates.ts';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

// `fleetgate up` with TLS, and Debian's mosquitto_pub, whose TLS we had no hand in.

const isMissing = spawnSync('mosquitto_pub', ['--version']).error !== undefined;
const isSkipped = isMissing && process.env['CI'] === undefined;

const data = temporaryDirectory();
let authority: Authority;
let folder: CertificateFolder;
let fleetgate: RunningFleetgate;
let token: string;

async function renew(name: string): Promise<void> {
  const { cert, key } = await authority.issue(name);
  folder.write('server.pem', cert);
  folder.write('server.key', key);
}

beforeAll(async () => {
  authority = await createAuthority();
  folder = certificateFolder();
  folder.write('ca.pem', authority.cert);
  await renew('first');
  const device = await authority.issue('press-1');
  folder.write('device.pem', device.cert);
  folder.write('device.key', device.key);
  // Relative to this file, as the contract has it.
  const config = folder.write(
    'fleetgate.yaml',
    `
broker:
  listeners:
    - { protocol: mqtts, port: 0, tls_cert_file: server.pem, tls_key_file: server.key }
    - { protocol: wss, port: 0, tls_cert_file: server.pem, tls_key_file: server.key,
        tls_client_ca_file: ca.pem, require_client_cert: true }
`,
  );
  const policy = join(dirname(data.path), 'policy.yaml');
  writeFileSync(
    policy,
    'version: 1\nscopes: { reading.write: { publish: [ "plant/{client_id}/reading/#" ] } }\n',
  );
  fleetgate = await startFleetgate([
    'up',
    ...freePorts(data.path),
    '--config',
    config,
    '--set',
    `broker.policy_file=${policy}`,
  ]);
  const create = ['client', 'create', '--data', data.path, '--id', 'press-1', '--scope', 'reading.write'];
  const created = await runFleetgate([...create, '--format', 'json']);
  expect(created.code, created.stderr).toBe(0);
  const { client_secret } = JSON.parse(created.stdout) as { client_secret: string };
  const answer = await requestToken(fleetgate.ready['issuer'] as string, 'press-1', client_secret);
  token = ((await answer.json()) as { access_token: string }).access_token;
});

afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
  folder.remove();
});

async function serverName(): Promise<string> {
  const { port } = new URL(fleetgate.ready['mqtts'] as string);
  const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: authority.cert });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

/** Sends SIGHUP and waits for the log line that says what came of it. */
async function reload(): Promise<Record<string, unknown>> {
  const from = fleetgate.stderr().length;
  fleetgate.process.kill('SIGHUP');
  for (;;) {
    const line = fleetgate
      .stderr()
      .slice(from)
      .split('\n')
      .slice(0, -1)
      .find((one) => one.includes('"reload') && one.includes('certificates'));
    if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
    await once(fleetgate.process.stderr as NodeJS.ReadableStream, 'data');
  }
}

test('the ready line has the addresses of mqtts and wss', () => {
  expect(Object.keys(fleetgate.ready)).toEqual([
    'event',
    'issuer',
    'admin',
    'coap',
    'mqtts',
    'wss',
    'data_dir',
    'console',
  ]);
  expect(fleetgate.ready['mqtts']).toMatch(/^mqtts:\/\/127\.0\.0\.1:[1-9]\d*$/);
  expect(fleetgate.ready['wss']).toMatch(/^wss:\/\/127\.0\.0\.1:[1-9]\d*$/);
});

test('SIGHUP puts a new certificate to use; a bad one changes nothing', async () => {
  expect(await serverName()).toBe('first');
  await renew('second');
  expect(await reload()).toMatchObject({ event: 'reloaded', what: 'certificates' });
  expect(await serverName()).toBe('second');
  folder.write('server.key', 'broken');
  const line = await reload();
  expect(line).toMatchObject({ event: 'reload_failed', what: 'certificates', code: 'tls_file_invalid' });
  expect(String(line['msg'])).toContain('server.key');
  expect(await serverName()).toBe('second');
});

test('a listener that requires a client certificate serves no one without', async () => {
  const url = fleetgate.ready['wss'] as string;
  const read = (name: string) => readFileSync(join(folder.path, name), 'utf8');
  const tls = { ca: authority.cert, cert: read('device.pem'), key: read('device.key') };
  const client = await rawClient(url, { tls });
  expect(await connackOf(client, connectPacket('press-1', token))).toBe(0);
  await client.end();
  await expect(rawClient(url, { tls: { ca: authority.cert } })).rejects.toThrow();
});

describe.skipIf(isSkipped)('with mosquitto-clients (Debian: apt-get install mosquitto-clients)', () => {
  function publish(protocol: 'mqtts' | 'wss', topic: string, ...more: string[]) {
    const { port } = new URL(fleetgate.ready[protocol] as string);
    const login = ['-h', '127.0.0.1', '-p', port, '-i', 'press-1', '-u', 'press-1', '-P', token];
    return runCommand('mosquitto_pub', [...login, '-q', '1', '-t', topic, '-m', '21.5', ...more]);
  }
  const ca = () => ['--cafile', join(folder.path, 'ca.pem')];

  test('a publish within the scope is accepted over mqtts', async () => {
    const { code, stderr } = await publish('mqtts', 'plant/press-1/reading/t', ...ca());
    expect(code, stderr).toBe(0);
  });

  test('a publish outside the scope is refused', async () => {
    expect((await publish('mqtts', 'plant/press-2/reading/t', ...ca())).code).not.toBe(0);
  });

  test.each(['tlsv1.2', 'tlsv1.3'])('%s is spoken', async (version) => {
    const { code, stderr } = await publish(
      'mqtts',
      'plant/press-1/reading/t',
      ...ca(),
      '--tls-version',
      version,
    );
    expect(code, stderr).toBe(0);
  });

  test('a client without TLS gets nowhere', async () => {
    expect((await publish('mqtts', 'plant/press-1/reading/t')).code).not.toBe(0);
  });

  test('a client that knows another authority does not go on', async () => {
    folder.write('other.pem', (await createAuthority('another')).cert);
    const other = ['--cafile', join(folder.path, 'other.pem')];
    expect((await publish('mqtts', 'plant/press-1/reading/t', ...other)).code).not.toBe(0);
  });
});

test('SIGTERM ends it with 0', async () => {
  expect(await fleetgate.stop()).toBe(0);
});
