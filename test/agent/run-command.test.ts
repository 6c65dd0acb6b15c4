import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { formatCredentials } from '@fleetgate/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { deviceCredentials, startBroker, startIssuer } from '../support/agent-fixture.ts';
import { issuerFixture } from '../support/issuer-fixture.ts';

const root = resolve(import.meta.dirname, '../..');

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** What it said so far. */
  output(): string;
  stdout(): string;
  /** Resolves when stdout or stderr holds this text. */
  says(text: string): Promise<void>;
}

/** @param input for its standard input; `open` leaves that open */
function start(args: readonly string[], input?: string): Running {
  const main = join(root, 'agent/main.ts');
  const child = spawn(process.execPath, ['--conditions=@fleetgate/source', main, ...args], { cwd: root });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  if (input === undefined) child.stdin.end();
  else if (input !== 'open') child.stdin.end(input);
  return {
    child,
    ended: new Promise((done) => child.once('close', (code) => done({ code, stdout, stderr }))),
    output: () => `${stdout}${stderr}`,
    stdout: () => stdout,
    says: (text) => expect.poll(() => `${stdout}${stderr}`, { timeout: 15_000 }).toContain(text),
  };
}

async function device(issuer: string, broker = 'mqtt://127.0.0.1:1') {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-agent-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'device.json');
  await writeFile(path, formatCredentials(deviceCredentials(issuer, broker)), { mode: 0o600 });
  return { folder, path, sink: join(folder, 'token') };
}

describe('run, by signals', { timeout: 60_000 }, () => {
  /** A device of a real issuer, whose agent writes tokens to a file. */
  async function running() {
    const fixture = await issuerFixture();
    const client = await fixture.register({ client_id: 'd1' });
    const { path, sink } = await device(fixture.issuer.url);
    const put = (secret: string) =>
      writeFile(
        path,
        formatCredentials({
          ...deviceCredentials(fixture.issuer.url, 'mqtt://127.0.0.1:1'),
          auth: { method: 'client_secret_basic', client_secret: secret },
        }),
        { mode: 0o600 },
      );
    await put(client.client_secret);
    const agent = start(['run', '--credentials', path, '--sink-file', sink]);
    await agent.says('new token');
    const first = await readFile(sink, 'utf8');
    const rotate = async () => {
      const answer = await fixture.call('POST', '/v1/clients/d1/secrets', { overlap_seconds: 0 });
      expect(answer.status).toBe(201);
      return ((await answer.json()) as { client_secret: string }).client_secret;
    };
    const changed = () => expect.poll(() => readFile(sink, 'utf8'), { timeout: 10_000 }).not.toBe(first);
    return { fixture, agent, put, rotate, changed };
  }

  test('SIGUSR1 asks for a token now, and no debugger listens', async () => {
    const { agent, changed } = await running();
    agent.child.kill('SIGUSR1');
    await changed();
    expect(agent.output()).not.toContain('ebugger');
  });

  test('a secret that was rotated is picked up from the file when the issuer refuses the old one', async () => {
    const { agent, put, rotate, changed } = await running();
    await put(await rotate());
    agent.child.kill('SIGUSR1');
    await changed();
    await agent.says('the new credentials are in use');
  });

  test('SIGHUP reads the file, and goes on with what there was if it is no good', async () => {
    const { agent, put, rotate, changed } = await running();
    await put('not-registered-anywhere');
    agent.child.kill('SIGHUP');
    await agent.says('refuses the new credentials');
    await put(await rotate());
    agent.child.kill('SIGHUP');
    await agent.says('the new credentials are in use');
    await changed();
    agent.child.kill('SIGHUP');
    await agent.says('holds nothing new');
  });
});

describe('run', { timeout: 60_000 }, () => {
  test('--once writes the token, mode 0600, alone and without a newline, and ends', async () => {
    const issuer = await startIssuer();
    const { path, sink, folder } = await device(issuer.origin);
    await writeFile(sink, 'old', { mode: 0o644 });
    const ended = await start(['run', '--credentials', path, '--sink-file', sink, '--once']).ended;
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await readFile(sink, 'utf8')).toBe('canary-token-1');
    expect((await stat(sink)).mode & 0o777).toBe(0o600);
    expect((await readdir(folder)).sort()).toEqual(['device.json', 'token']);
  });

  test('each new token replaces the one in the file until SIGTERM, which ends it with 0', async () => {
    const issuer = await startIssuer(2);
    const { path, sink } = await device(issuer.origin);
    const running = start(['run', '--credentials', path, '--sink-file', sink]);
    const content = () => readFile(sink, 'utf8').catch(() => '');
    await expect.poll(content, { timeout: 15_000 }).toBe('canary-token-1');
    await expect.poll(content, { timeout: 15_000 }).toBe('canary-token-2');
    running.child.kill('SIGTERM');
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).not.toContain('canary');
  });

  test('/livez is 200 always, /readyz only while there is a valid token and the session', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    await broker.stop();
    const { path } = await device(issuer.origin, broker.url);
    const running = start(['run', '--credentials', path, '--mqtt', '--health', '127.0.0.1:0']);
    await running.says('health at http://127.0.0.1:');
    await running.says('cannot be reached');
    const [, url] = /health at (http:\S+)/.exec(running.output()) ?? [];
    const status = async (place: string) => (await fetch(`${url}${place}`)).status;
    expect(await status('/livez')).toBe(200);
    expect(await status('/readyz')).toBe(503);
    expect(await status('/token')).toBe(404);
    await broker.start();
    await expect.poll(() => status('/readyz'), { timeout: 15_000 }).toBe(200);
    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(0);
  });

  test('an issuer that is away is waited for', async () => {
    const issuer = await startIssuer();
    const token = issuer.answer;
    issuer.answer = () => ({ status: 500, body: {} });
    const { path, sink } = await device(issuer.origin);
    const running = start(['run', '--credentials', path, '--sink-file', sink]);
    await running.says('no new token');
    issuer.answer = token;
    await running.says('new token, expires in');
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  });

  test('a session that is cut off again and again tells of another client with its id', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    broker.aedes.on('clientReady', () => broker.cut());
    const { path } = await device(issuer.origin, broker.url);
    const running = start(['run', '--credentials', path, '--mqtt']);
    await running.says('another client is connected as d1');
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  });

  test('without an output, or --once with --mqtt, it ends with 2; a --health that is taken with 1', async () => {
    const issuer = await startIssuer();
    const { path, sink } = await device(issuer.origin);
    const run = (...args: string[]) => start(['run', '--credentials', path, ...args]).ended;
    expect((await run()).code).toBe(2);
    expect((await run('--once', '--mqtt')).code).toBe(2);
    const missing = await run('--sink-file', join(sink, 'no', 'token'));
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain(join(sink, 'no'));
    expect((await run('--sink-file', sink, '--health', 'nonsense')).code).toBe(2);
    const taken = new URL(issuer.origin).host;
    const ended = await run('--sink-file', sink, '--health', taken);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(taken);
  });
});

describe('sinks of run', { timeout: 60_000 }, () => {
  test('--sink-socket tells each connection the token and each that follows, 0600, and goes with the process', async () => {
    const issuer = await startIssuer(2);
    const { path, folder } = await device(issuer.origin);
    const socketPath = join(folder, 'token.sock');
    const running = start(['run', '--credentials', path, '--sink-socket', socketPath]);
    await running.says('new token');
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    const lines = async () => {
      const socket = connect(socketPath);
      let text = '';
      for await (const chunk of socket) {
        text += chunk;
        if (text.split('\n').length > 2) break;
      }
      return text.trim().split('\n');
    };
    for (const [first, second] of await Promise.all([lines(), lines()])) {
      const number = Number(first?.replace('canary-token-', ''));
      expect(number).toBeGreaterThan(0);
      expect(second).toBe(`canary-token-${number + 1}`);
    }
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).not.toContain('canary');
    expect(await readdir(folder)).toEqual(['device.json']);
  });

  test('--sink-socket takes the place of one that a killed process left, never of one in use or of a file', async () => {
    const issuer = await startIssuer();
    const { path, sink, folder } = await device(issuer.origin);
    const socketPath = join(folder, 'token.sock');
    const run = (socket: string) => start(['run', '--credentials', path, '--sink-socket', socket]);
    const killed = run(socketPath);
    await killed.says('new token');
    killed.child.kill('SIGKILL');
    await killed.ended;
    const second = run(socketPath);
    await second.says('new token');
    expect((await run(socketPath).ended).code).toBe(1);
    await writeFile(sink, 'precious');
    expect((await run(sink).ended).code).toBe(2);
    expect(await readFile(sink, 'utf8')).toBe('precious');
    second.child.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
  });

  test('--sink-exec gives the token to a command by its standard input alone, and again for the next token', async () => {
    const issuer = await startIssuer(2);
    const { path, folder } = await device(issuer.origin);
    const out = join(folder, 'out');
    const command = `cat >> ${out}; echo >> ${out}; cat /proc/$$/cmdline /proc/$$/environ >> ${out}.shown`;
    const running = start(['run', '--credentials', path, '--sink-exec', command]);
    const content = () => readFile(out, 'utf8').catch(() => '');
    await expect.poll(content, { timeout: 15_000 }).toContain('canary-token-1\ncanary-token-2\n');
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).not.toContain('canary');
    const shown = await readFile(`${out}.shown`, 'utf8');
    expect(shown).toContain('cat');
    expect(shown).not.toContain('canary');
  });

  test('a command that fails is run again, and --once ends with its failure', async () => {
    const issuer = await startIssuer();
    const { path, folder } = await device(issuer.origin);
    const marker = join(folder, 'marker');
    const command = `test -e ${marker} || { touch ${marker}; exit 3; }`;
    const running = start(['run', '--credentials', path, '--sink-exec', command]);
    await running.says('the command ended with 3');
    await running.says('new token');
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
    const once = (act: string) => start(['run', '--credentials', path, '--once', '--sink-exec', act]).ended;
    expect(await once('exit 4')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'fleetgate-agent: --sink-exec failed (the command ended with 4)\n',
    });
    expect((await once('cat > /dev/null')).code).toBe(0);
  });
});

describe('run --mqtt --bridge', { timeout: 60_000 }, () => {
  const lines = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));

  test('publishes the lines that come, tells the messages, answers each order, and ends with the input', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { path } = await device(issuer.origin, broker.url);
    const running = start(['run', '--credentials', path, '--mqtt', '--bridge'], 'open');
    const say = (line: unknown) => running.child.stdin.write(`${JSON.stringify(line)}\n`);
    say({ subscribe: 'a/#', qos: 1, id: 's' });
    say({ subscribe: 'a/#', qos: 1, id: 't' });
    await running.says('"id":"t"');
    say({ topic: 'a/b', payload: 'text', qos: 1, id: 1 });
    say({ topic: 'a/b', payload_base64: '/wA=', qos: 1, retain: true });
    running.child.stdin.write('{"topic":\n\n');
    say({ topic: 'a/#', payload: 'x', id: 2 });
    say({ topic: 'a/b', payload: 'x', qso: 1 });
    const expected = [
      { id: 's', ok: true },
      { id: 't', ok: true },
      { id: 1, ok: true },
      { topic: 'a/b', qos: 1, retain: false, payload: 'text' },
      { topic: 'a/b', qos: 1, retain: false, payload_base64: '/wA=' },
      { line: 5, error: 'line_invalid' },
      { line: 7, id: 2, error: 'topic_malformed' },
      { line: 8, error: 'line_invalid' },
    ];
    await expect
      .poll(() => lines(running.stdout()).length, { timeout: 15_000 })
      .toBeGreaterThanOrEqual(expected.length);
    running.child.stdin.end();
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(lines(stdout)).toEqual(expect.arrayContaining(expected));
  });

  test('what it could not deliver is in --queue when it is stopped, and delivered by the next run', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    await broker.stop();
    const { path, folder } = await device(issuer.origin, broker.url);
    const args = ['run', '--credentials', path, '--mqtt', '--bridge', '--queue', join(folder, 'queue')];
    const first = start(args, 'open');
    first.child.stdin.write('{"topic":"a","payload":"kept","qos":1,"id":1}\n');
    await first.says('cannot be reached');
    first.child.kill('SIGTERM');
    expect(await first.ended).toMatchObject({ code: 0, stdout: '{"line":1,"id":1,"error":"stopped"}\n' });
    const received: string[] = [];
    broker.aedes.on(
      'publish',
      ({ topic, payload }) => void (topic === 'a' && received.push(String(payload))),
    );
    await broker.start();
    const second = start(args, 'open');
    await expect.poll(() => received, { timeout: 15_000 }).toEqual(['kept']);
    second.child.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
  });
});

describe('run with a dead credential', { timeout: 60_000 }, () => {
  test('says so in its log, /readyz and /metrics, and asks again when the file changes', async () => {
    const issuer = await startIssuer();
    const token = issuer.answer;
    issuer.answer = () => ({ status: 401, body: { error: 'invalid_client' } });
    const { path, sink } = await device(issuer.origin);
    const running = start(['run', '--credentials', path, '--sink-file', sink, '--health', '127.0.0.1:0']);
    await running.says('no new token');
    running.child.kill('SIGUSR1');
    await expect.poll(issuer.requests, { timeout: 15_000 }).toBe(2);
    const [, url] = /health at (http:\S+)/.exec(running.output()) ?? [];
    const text = async (place: string) => (await fetch(`${url}${place}`)).text();
    await expect.poll(() => text('/readyz')).toBe('not ready: the issuer refuses the credentials\n');
    expect(await text('/metrics')).toContain('fleetgate_agent_token_failing{kind="dead"} 1\n');
    expect(await text('/metrics')).toContain('fleetgate_agent_token_requests_total{result="failed"} 2\n');

    issuer.answer = token;
    const others = { ...deviceCredentials(issuer.origin, 'mqtt://127.0.0.1:1') };
    const auth = { method: 'client_secret_basic', client_secret: 'canary-secret-rotated' } as const;
    await writeFile(path, formatCredentials({ ...others, auth }), { mode: 0o600 });
    await running.says('the new credentials are in use');
    await expect.poll(() => text('/readyz')).toBe('ok\n');
    const metrics = await text('/metrics');
    expect(metrics).toContain('fleetgate_agent_ready 1\n');
    expect(metrics).toContain('fleetgate_agent_token_failing{kind="dead"} 0\n');
    expect(metrics).not.toContain('fleetgate_agent_connected');
    expect(`${metrics}${running.output()}`).not.toContain('canary');
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  });
});

describe('publish and subscribe', { timeout: 60_000 }, () => {
  test('a message from an option, a file or standard input arrives, and each command ends with 0', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { path, folder } = await device(issuer.origin, broker.url);
    const file = join(folder, 'message');
    await writeFile(file, Buffer.from([0xff, 0x00]));
    const to = ['--credentials', path, 'devices/d1/t'];
    const subscriber = start([
      'subscribe',
      ...to,
      'devices/+/t',
      '--client-id',
      'd1.cli',
      '--count',
      '3',
      '--format',
      'json',
    ]);
    await subscriber.says('connected');
    await expect.poll(() => broker.aedes.connectedClients).toBe(1);
    // SUBACK is not noted; a retained message is there whether it came before or after.
    const publish = (args: string[], input?: string) => start(['publish', ...to, ...args], input).ended;
    expect(await publish(['-m', '21.5', '--qos', '1', '--retain'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect((await publish(['-f', file, '--qos', '2'])).code).toBe(0);
    expect((await publish([], 'from stdin')).code).toBe(0);
    const { code, stdout } = await subscriber.ended;
    expect(code).toBe(0);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { topic: 'devices/d1/t', payload: '21.5' },
      { payload_base64: '/wA=' },
      { payload: 'from stdin' },
    ]);
  });

  test('text is topic and payload, and SIGINT ends it with 0', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    await new Promise<void>((done) => {
      const packet = {
        cmd: 'publish',
        topic: 'a',
        payload: 'kept',
        qos: 0,
        retain: true,
        dup: false,
      } as const;
      broker.aedes.publish(packet, () => done());
    });
    const { path } = await device(issuer.origin, broker.url);
    const running = start(['subscribe', '--credentials', path, 'a']);
    await running.says('a kept\n');
    running.child.kill('SIGINT');
    expect(await running.ended).toMatchObject({ code: 0, stdout: 'a kept\n' });
  });

  test('what the broker or the issuer refuses for good ends with 1 without waiting, and shows no secret', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(() => 5, {});
    const { path } = await device(issuer.origin, broker.url);
    const publish = () => start(['publish', '--credentials', path, 'a', '-m', 'x']).ended;
    const subscribe = () => start(['subscribe', '--credentials', path, 'a']).ended;
    const refused = await Promise.all([publish(), subscribe()]);
    issuer.answer = () => ({ status: 401, body: { error: 'invalid_client' } });
    const unknown = await publish();
    expect([...refused, unknown].map(({ code, stdout }) => ({ code, stdout }))).toEqual(
      [1, 2, 3].map(() => ({ code: 1, stdout: '' })),
    );
    expect([...refused, unknown].map(({ stderr }) => stderr).join('')).not.toContain('canary');
    for (const part of ["'d1'", issuer.origin, path]) expect(unknown.stderr).toContain(part);
  });

  test('a filter the broker refuses ends with 1', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(() => 0, {
      authorizeSubscribe: (_client, _asked, done) => done(null, null),
    });
    const { path } = await device(issuer.origin, broker.url);
    const ended = await start(['subscribe', '--credentials', path, '#']).ended;
    expect(ended.code).toBe(1);
  });

  test('a broker that is away ends publish with 1 at its time limit, and subscribe --count too', async () => {
    const issuer = await startIssuer();
    const { path } = await device(issuer.origin);
    const limit = ['--timeout-seconds', '1'];
    const ended = await Promise.all([
      start(['publish', '--credentials', path, 'a', '-m', 'x', ...limit]).ended,
      start(['subscribe', '--credentials', path, 'a', '--count', '1', ...limit]).ended,
    ]);
    expect(ended.map(({ code }) => code)).toEqual([1, 1]);
  });

  test('bad usage ends with 2', async () => {
    const issuer = await startIssuer();
    const { path } = await device(issuer.origin);
    const uses = [
      ['publish', '--credentials', path],
      ['publish', '--credentials', path, 'a/#', '-m', 'x'],
      ['publish', '--credentials', path, 'a', '-m', 'x', '-f', path],
      ['publish', '--credentials', path, 'a', '-f', `${path}.none`],
      ['publish', '--credentials', path, 'a', '-m', 'x', '--qos', '3'],
      ['publish', '--credentials', path, 'a', '-m', 'x', '--broker', 'http://127.0.0.1'],
      ['publish', '--credentials', path, 'a', '-m', 'x', '--broker', 'mqtt://u:p@127.0.0.1'],
      ['subscribe', '--credentials', path, 'a#'],
      ['subscribe', '--credentials', path, 'a', '--count', '0'],
    ];
    const ended = await Promise.all(uses.map((args) => start(args).ended));
    expect(ended.map(({ code }) => code)).toEqual(uses.map(() => 2));
  });

  test('without --credentials, or with a broker nowhere, the message names the option', async () => {
    const issuer = await startIssuer();
    const { path } = await device(issuer.origin);
    const { broker: _, ...homeless } = deviceCredentials(issuer.origin, '');
    await writeFile(path, formatCredentials(homeless), { mode: 0o600 });
    const uses = [
      [['token'], "'--credentials <file>' not specified"],
      [['token', '--credentals', path], 'Did you mean --credentials'],
      [['subscribe', '--credentials', path, 'a'], '--broker'],
    ] as const;
    for (const [args, text] of uses) {
      const { code, stderr } = await start(args).ended;
      expect(code).toBe(2);
      expect(stderr).toContain(text);
    }
  });

  test('an empty standard input is published, and said so', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { path } = await device(issuer.origin, broker.url);
    const { code, stderr } = await start(['publish', '--credentials', path, 'a'], '').ended;
    expect(code).toBe(0);
    expect(stderr).toContain('standard input was empty');
  });

  test('a credentials file that others may read is refused with 2 before anything is asked', async () => {
    const issuer = await startIssuer();
    const { path, sink } = await device(issuer.origin);
    await chmod(path, 0o640);
    const ended = await start(['run', '--credentials', path, '--sink-file', sink, '--once']).ended;
    expect(ended.code).toBe(2);
    expect(issuer.requests()).toBe(0);
  });

  test('debug logging of the MQTT libraries shows no token', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { path } = await device(issuer.origin, broker.url);
    process.env['DEBUG'] = '*';
    onTestFinished(() => void delete process.env['DEBUG']);
    const ended = await start(['publish', '--credentials', path, 'a', '-m', 'x', '--qos', '1']).ended;
    expect(ended.code).toBe(0);
    expect(ended.stderr).toContain('mqtt-packet');
    expect(ended.stderr).not.toContain('canary');
  });
});
