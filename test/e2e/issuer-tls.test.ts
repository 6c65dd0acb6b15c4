import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import {
  type Authority,
  type CertificateFolder,
  certificateFolder,
  createAuthority,
  type Pair,
} from '../support/certificates.ts';
import {
  freePorts,
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { httpsFetch } from '../support/https-fetch.ts';

// `fleetgate up` with TLS on the issuer as on the broker, a device with a certificate, and openssl and curl.

const isMissing = ['openssl', 'curl'].some((tool) => spawnSync(tool, ['version']).error !== undefined);
const isSkipped = isMissing && process.env['CI'] === undefined;

const data = temporaryDirectory();
let authority: Authority;
let folder: CertificateFolder;
let fleetgate: RunningFleetgate;
let device: Pair;

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
  device = await authority.issue('press-7', { altNames: [{ type: 2, value: 'press-7.example' }] });
  const config = folder.write(
    'fleetgate.yaml',
    `
issuer:
  http: { tls_cert_file: server.pem, tls_key_file: server.key, tls_client_ca_file: ca.pem }
broker:
  listeners:
    - { protocol: mqtts, tls_cert_file: server.pem, tls_key_file: server.key, tls_client_ca_file: ca.pem }
    - { protocol: wss, port: 0, tls_cert_file: server.pem, tls_key_file: server.key, tls_client_ca_file: ca.pem }
`,
  );
  fleetgate = await startFleetgate(['up', ...freePorts(data.path), '--config', config]);
  const created = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'press-7', '--scope', 'telemetry.write'],
    ...['--auth', 'tls_client_auth', '--san-dns', 'press-7.example'],
  ]);
  expect(created.code, created.stderr).toBe(0);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
  folder.remove();
});

const issuer = () => fleetgate.ready['issuer'] as string;
const token = async (certificate?: Pair) => {
  const response = await httpsFetch({ ca: authority.cert, ...certificate })(`${issuer()}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'press-7' }),
  });
  return (await response.json()) as Record<string, string>;
};

async function serverName(): Promise<string> {
  const { port } = new URL(issuer());
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
    const lines = fleetgate.stderr().slice(from).split('\n').slice(0, -1);
    const line = lines.find((one) => one.includes('"reload') && one.includes('issuer certificates'));
    if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
    await once(fleetgate.process.stderr as NodeJS.ReadableStream, 'data');
  }
}

test('the address of the issuer and iss of its tokens are https', async () => {
  expect(issuer()).toMatch(/^https:\/\/127\.0\.0\.1:[1-9]\d*$/);
  const { access_token = '' } = await token(device);
  expect(decodeJwt(access_token).iss).toBe(issuer());
});

test('a credentials file names the running broker also where all its listeners are TLS', async () => {
  const out = join(folder.path, 'press-9.json');
  const create = ['client', 'create', '--data', data.path, '--id', 'press-9', '--out', out];
  const created = await runFleetgate([...create, '--scope', 'telemetry.write']);
  expect(created.code, created.stderr).toBe(0);
  expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({ broker: { url: fleetgate.ready['mqtts'] } });
  const agent = join(import.meta.dirname, '../../agent/main.ts');
  const asked = ['--conditions=@fleetgate/source', agent, 'token', '--credentials', out];
  expect((await runCommand(process.execPath, asked)).stderr).toContain('NODE_EXTRA_CA_CERTS');
});

test('a token got by a certificate is good at the broker with that certificate, and with no other', async () => {
  const { access_token = '' } = await token(device);
  const other = await authority.issue('press-8');
  const url = fleetgate.ready['mqtts'] as string;
  for (const [certificate, code] of [
    [device, 0],
    [other, 4],
    [undefined, 4],
  ] as const) {
    const client = await rawClient(url, { tls: { ca: authority.cert, ...certificate } });
    expect(await connackOf(client, connectPacket('press-7', access_token))).toBe(code);
    await client.end();
  }
});

describe('with a credentials file that names certificate and key', () => {
  const agentMain = join(import.meta.dirname, '../../agent/main.ts');
  const trusting = (command: string, args: readonly string[], input = '') =>
    runCommand(process.execPath, ['--conditions=@fleetgate/source', command, ...args], {
      env: { NODE_EXTRA_CA_CERTS: join(folder.path, 'ca.pem') },
      input,
    });
  const credentials = (broker: string) =>
    folder.write(
      'press-7.json',
      JSON.stringify({
        version: 1,
        client_id: 'press-7',
        issuer: issuer(),
        auth: { method: 'tls_client_auth', cert_file: 'press-7.pem', key_file: 'press-7.key' },
        broker: { url: broker, ca_file: 'ca.pem' },
      }),
    );
  beforeAll(() => {
    folder.write('press-7.pem', device.cert);
    folder.write('press-7.key', device.key);
  });

  test('token request prints a token that is bound to it', async () => {
    const main = join(import.meta.dirname, '../../cli/main.ts');
    const args = ['token', 'request', '--credentials', credentials(fleetgate.ready['mqtts'] as string)];
    const { code, stdout, stderr } = await trusting(main, args);
    expect(code, stderr).toBe(0);
    expect(decodeJwt(stdout.trim())['cnf']).toEqual({ 'x5t#S256': expect.any(String) });
  });

  test.each(['mqtts', 'wss'])('the agent shows it to the broker, too: %s', async (protocol) => {
    const file = credentials(fleetgate.ready[protocol] as string);
    const topic = 'devices/press-7/telemetry/t';
    const ended = await trusting(agentMain, ['publish', '--credentials', file, topic, '--qos', '1'], '21.5');
    expect(ended.code, ended.stderr).toBe(0);
  });

  test('the agent refuses a broker without TLS, and says why', async () => {
    const file = credentials('mqtt://127.0.0.1:1');
    const ended = await trusting(agentMain, ['publish', '--credentials', file, 'a'], 'x');
    expect(ended.code, ended.stderr).toBe(2);
    expect(ended.stderr).toContain('mqtts://');
  });
});

test('SIGHUP puts a new certificate to use; a bad one changes nothing', async () => {
  expect(await serverName()).toBe('first');
  await renew('second');
  expect(await reload()).toMatchObject({ event: 'reloaded', what: 'issuer certificates' });
  expect(await serverName()).toBe('second');
  const key = readFileSync(join(folder.path, 'server.key'), 'utf8');
  folder.write('server.key', 'broken');
  expect(await reload()).toMatchObject({ event: 'reload_failed', code: 'tls_file_invalid' });
  expect(await serverName()).toBe('second');
  folder.write('server.key', key);
  expect(await token(device)).toHaveProperty('access_token');
});

describe.skipIf(isSkipped)('with openssl and curl', () => {
  const path = (name: string) => join(folder.path, name);

  async function openssl(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await runCommand('openssl', args);
    expect(code, stderr).toBe(0);
    return stdout;
  }

  async function curl(clientId: string, name: string): Promise<Record<string, string>> {
    const ended = await runCommand('curl', [
      ...['--silent', '--show-error', '--cacert', path('ca.pem')],
      ...['--cert', path(`${name}.pem`), '--key', path(`${name}.key`)],
      ...['--data', `grant_type=client_credentials&client_id=${clientId}`, `${issuer()}/oauth/token`],
    ]);
    expect(ended.code, ended.stderr).toBe(0);
    return JSON.parse(ended.stdout) as Record<string, string>;
  }

  const newKey = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-utf8',
    '-multivalue-rdn',
  ];

  test.each([
    ['plain', '/C=DE/O=Example/CN=press-9'],
    ['a comma and a plus sign', '/O=Example, Inc./CN=press\\+9'],
    ['letters beyond ASCII', '/O=Exämple/CN=Пресс'],
    [
      'a part of two attributes, domain components and a mail address',
      '/DC=net/DC=example/OU=a+UID=b/emailAddress=a@b.example',
    ],
    ['spaces and a sharp', '/O=#1  a b /CN= x'],
  ])('the subject as openssl prints it is the one to register: %s', async (what, subject) => {
    const id = what.replaceAll(/[^a-z]/g, '-').slice(0, 30);
    const files = ['-keyout', path(`${id}.key`), '-out', path(`${id}.csr`)];
    await openssl('req', '-new', ...newKey, '-subj', subject, ...files);
    folder.write('ca.key', authority.key);
    const by = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '1'];
    await openssl('x509', '-req', '-in', path(`${id}.csr`), ...by, '-out', path(`${id}.pem`));
    const printed = await openssl(
      'x509',
      ...['-in', path(`${id}.pem`), '-noout', '-subject', '-nameopt', 'RFC2253'],
    );
    const name = printed.replace(/^subject=/, '').replace(/\n$/, '');
    const created = await runFleetgate([
      ...['client', 'create', '--data', data.path, '--id', id, '--auth', 'tls_client_auth'],
      ...['--subject-dn', name],
    ]);
    expect(created.code, created.stderr).toBe(0);
    expect(await curl(id, id)).toHaveProperty('access_token');
  });

  test('a self-signed certificate of openssl is the credential', async () => {
    const files = ['-keyout', path('own.key'), '-out', path('own.pem')];
    await openssl('req', '-x509', ...newKey, '-subj', '/CN=own', '-days', '1', ...files);
    const created = await runFleetgate([
      ...['client', 'create', '--data', data.path, '--id', 'own'],
      ...['--auth', 'self_signed_tls_client_auth', '--cert-file', path('own.pem')],
    ]);
    expect(created.code, created.stderr).toBe(0);
    expect(await curl('own', 'own')).toHaveProperty('access_token');
    expect(await curl('press-7', 'own')).toMatchObject({ error: 'invalid_client' });
  });
});

test('SIGTERM ends it with 0', async () => {
  expect(await fleetgate.stop()).toBe(0);
});
