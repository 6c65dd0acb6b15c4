import { createSocket } from 'node:dgram';
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts, runFleetgate, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';

let data: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  data = temporaryDirectory();
});
afterEach(() => data.remove());

/** Starts with `args`, expects a refusal of one line, and answers the line. */
async function refusal(args: readonly string[], code: number): Promise<string> {
  const ended = await runFleetgate(['up', ...freePorts(data.path), ...args]);
  const lines = ended.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  expect(lines, ended.stderr).toHaveLength(1);
  expect(ended.code).toBe(code);
  expect(ended.stdout).toBe('');
  return lines[0] as string;
}

function file(name: string, text: string): string {
  const path = join(dirname(data.path), name);
  writeFileSync(path, text);
  return path;
}

test('the first start makes a private data directory, and SIGTERM ends it with 0', async () => {
  const running = await startFleetgate(['up', ...freePorts(data.path)]);
  expect(statSync(data.path).mode & 0o777).toBe(0o700);
  for (const name of ['admin.key', 'key-encryption.key', 'fleetgate.db', 'policy.yaml', 'runtime.json']) {
    expect(statSync(join(data.path, name)).mode & 0o777, name).toBe(0o600);
  }
  expect(Object.keys(running.ready)).toEqual([
    'event',
    'issuer',
    'admin',
    'coap',
    'mqtt',
    'data_dir',
    'console',
  ]);
  expect(await running.stop()).toBe(0);
});

test('an unknown key names its place and the nearest valid key', async () => {
  const config = file('fleetgate.yaml', 'issuer:\n  htpp: { port: 0 }\n');
  const line = await refusal(['--config', config], 2);
  expect(line).toContain(`${config}:2:3`);
  expect(line).toContain("'http'");
});

test('a wrong --set names the option and the nearest valid key', async () => {
  const line = await refusal(['--set', 'broker.client_id_bindin=exact'], 2);
  expect(line).toContain("'client_id_binding'");
});

test.each([
  ['a certificate without a key', ['tls_cert_file=/dev/null'], 'issuer.http.tls_key_file is missing'],
  ['a key without a certificate', ['tls_key_file=/dev/null'], 'issuer.http.tls_cert_file is missing'],
  [
    'authorities without TLS',
    ['tls_client_ca_file=/dev/null'],
    'issuer.http.tls_client_ca_file is of no use',
  ],
  [
    'a file that does not exist',
    ['tls_cert_file=/nonexistent/server.pem', 'tls_key_file=/dev/null'],
    'issuer.http.tls_cert_file: /nonexistent/server.pem',
  ],
])('the public listener with %s names the key', async (_what, settings, words) => {
  const sets = settings.flatMap((set) => ['--set', `issuer.http.${set}`]);
  expect(await refusal(sets, 2)).toContain(words);
});

test.each([
  ['mqtts without its files', ['protocol=mqtts'], 'broker.listeners.0.tls_cert_file is missing'],
  ['a certificate for mqtt', ['tls_cert_file=server.pem'], 'broker.listeners.0.tls_cert_file is of no use'],
  ['client certificates for ws', ['protocol=ws', 'require_client_cert=true'], 'use wss'],
  ['PROXY headers from anyone', ['proxy_protocol=true'], 'broker.listeners.0.proxy_from is missing'],
  ['proxies without PROXY headers', ['proxy_from=[10.0.0.1]'], 'proxy_protocol: true'],
  [
    'a proxy that is no address',
    ['proxy_protocol=true', 'proxy_from=[lb.example.com]'],
    'broker.listeners.0.proxy_from.0',
  ],
  [
    'a file that does not exist',
    ['protocol=mqtts', 'tls_cert_file=/nonexistent/server.pem', 'tls_key_file=/nonexistent/server.key'],
    '/nonexistent/server.pem',
  ],
])('a listener with %s names the key or the file', async (_what, settings, words) => {
  const sets = settings.flatMap((set) => ['--set', `broker.listeners.0.${set}`]);
  // Several lines say what is wrong with several keys.
  const ended = await runFleetgate(['up', ...freePorts(data.path), ...sets]);
  expect(ended.stderr).toContain(words);
  expect(ended.code).toBe(2);
  expect(ended.stdout).toBe('');
});

test('an unreadable policy names the file', async () => {
  const line = await refusal(['--set', 'broker.policy_file=/nonexistent/policy.yaml'], 2);
  expect(line).toContain('/nonexistent/policy.yaml does not exist');
});

test('a certificate that is not there names the key before anything listens', async () => {
  const listener =
    'broker.listeners.0={ protocol: mqtts, tls_cert_file: /nonexistent.pem, tls_key_file: /dev/null }';
  const ended = await runFleetgate(['up', ...freePorts(data.path), '--set', listener]);
  expect(ended.code).toBe(2);
  expect(ended.stderr).toContain('broker.listeners.0.tls_cert_file: /nonexistent.pem');
  expect(ended.stderr).not.toContain('listening');
});

test('a policy with a misspelled key names line, column and the nearest key', async () => {
  const policy = file('policy.yaml', 'version: 1\nscopes:\n  a.b: { publisch: [ x ] }\n');
  const line = await refusal(['--set', `broker.policy_file=${policy}`], 2);
  expect(line).toContain(`${policy}:3:10`);
  expect(line).toContain("'publish'");
});

test('a port in use names the port and the key', async () => {
  const squatter = createServer();
  await new Promise<void>((done) => {
    squatter.listen(0, '127.0.0.1', done);
  });
  const { port } = squatter.address() as { port: number };
  try {
    for (const key of ['issuer.http.port', 'admin.port', 'broker.listeners.0.port']) {
      const line = await refusal(['--set', `${key}=${port}`], 1);
      expect(line).toContain(String(port));
      expect(line).toContain('in use');
    }
  } finally {
    squatter.close();
  }
});

test('a UDP port in use names the port and the key', async () => {
  const squatter = createSocket('udp4');
  await new Promise<void>((done) => {
    squatter.bind(0, '127.0.0.1', done);
  });
  const { port } = squatter.address();
  try {
    const line = await refusal(['--set', `issuer.coap.port=${port}`], 1);
    expect(line).toContain(`port ${port} (UDP)`);
    expect(line).toContain('set issuer.coap.port');
  } finally {
    squatter.close();
  }
});

test('a port in use of an MQTT listener names the key of that listener', async () => {
  const squatter = createServer();
  await new Promise<void>((done) => {
    squatter.listen(0, '127.0.0.1', done);
  });
  const { port } = squatter.address() as { port: number };
  try {
    const listener = `broker.listeners.1={ protocol: ws, port: ${port} }`;
    expect(await refusal(['--set', listener], 1)).toContain('broker.listeners.1.port');
  } finally {
    squatter.close();
  }
});

test.each(['issuer.http', 'admin', 'broker.listeners.0'])(
  'an address of another machine in %s.host is refused in one line that names the key',
  async (key) => {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    const line = await refusal(['--set', `${key}.host=192.0.2.1`, '--set', 'issuer.url=http://127.0.0.1'], 2);
    expect(line).toContain('EADDRNOTAVAIL');
    expect(line).toContain(`${key}.host`);
  },
);

test('a data directory that cannot be made is refused at once', async () => {
  const ended = await runFleetgate(['up', '--data', '/proc/fleetgate/data']);
  expect(ended.code).toBe(2);
  expect(ended.stderr).toContain('/proc/fleetgate/data');
});

test('a second process on a data directory is refused, and the first stays reachable', async () => {
  const first = await startFleetgate(['up', ...freePorts(data.path)]);
  const line = await refusal([], 1);
  expect(line).toContain(`data directory ${data.path} is in use by pid ${first.process.pid}`);
  expect(await runFleetgate(['client', 'list', '-q', '--data', data.path])).toMatchObject({ code: 0 });
  expect(await first.stop()).toBe(0);
});

test('a data directory whose process was killed, or whose pid another program has now, is free', async () => {
  const killed = await startFleetgate(['up', ...freePorts(data.path)]);
  await killed.stop('SIGKILL');
  const next = await startFleetgate(['up', ...freePorts(data.path)]);
  await next.stop('SIGKILL');
  const runtime = join(data.path, 'runtime.json');
  writeFileSync(runtime, JSON.stringify({ ...next.ready, pid: process.pid }));
  expect(await (await startFleetgate(['up', ...freePorts(data.path)])).stop()).toBe(0);
});

test.each(['admin.key', 'key-encryption.key'])(
  '%s that others can read is refused with the chmod to run',
  async (name) => {
    await (await startFleetgate(['up', ...freePorts(data.path)])).stop();
    chmodSync(join(data.path, name), 0o644);
    expect(await refusal([], 1)).toContain(`chmod 600 ${join(data.path, name)}`);
    const { stderr } = await runFleetgate(['up', ...freePorts(data.path)]);
    expect(stderr).not.toContain('listening');
  },
);

test('a database of a newer schema is refused', async () => {
  await (await startFleetgate(['up', ...freePorts(data.path)])).stop();
  const database = new Database(join(data.path, 'fleetgate.db'));
  database.pragma('user_version = 999');
  database.close();
  const line = await refusal([], 1);
  expect(line).toContain('999');
  expect(line).toContain('newer');
});

test('a directory others may write to is refused', async () => {
  mkdirSync(data.path);
  chmodSync(data.path, 0o777);
  expect(await refusal([], 2)).toContain(`chmod 700 ${data.path}`);
});

test('a broker alone that trusts nobody is refused', async () => {
  const { code, stderr } = await runFleetgate(['broker', '--data', data.path]);
  expect(code).toBe(2);
  expect(stderr).toContain('broker.trusted_issuers');
});

test('an unknown command or option ends with 2 and names the nearest', async () => {
  expect(await runFleetgate(['clinet'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('client'),
  });
  expect(await runFleetgate(['up', '--dta', 'x'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--data'),
  });
});
