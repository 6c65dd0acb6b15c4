import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { deviceCredentials, startBroker, startIssuer } from '../support/agent-fixture.ts';

const root = resolve(import.meta.dirname, '../..');

/** Runs the text as a module with `credentials` and `createAgent` at hand; its exit code and what it printed. */
async function runAgent(
  credentials: unknown,
  body: string,
): Promise<{ code: number | null; output: string }> {
  const script = `
    import { createAgent } from ${JSON.stringify(join(root, 'agent/index.ts'))};
    const credentials = ${JSON.stringify(credentials)};
    const agent = createAgent(credentials, { connectTimeoutMs: 60000 });
    ${body}
    process.on('exit', () => console.log('ended with', process.getActiveResourcesInfo().join()));
  `;
  const args = ['--conditions=@fleetgate/source', '--input-type=module', '--eval', script];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  const ended = new Promise<number | null>((done) => child.once('close', done));
  const [code, output] = await Promise.all([ended, text(child.stdout)]);
  clearTimeout(timer);
  return { code, output };
}

test('after stop() while connecting, asking for a token, waiting or renewing, the process ends by itself', {
  timeout: 60_000,
}, async () => {
  const issuer = await startIssuer(2);
  // Answers no CONNECT.
  const silent = await startBroker(() => 0, { authenticate: () => undefined });
  const broker = await startBroker();
  const stop = 'await agent.stop();';
  const runs = [
    { broker: broker.url, body: stop },
    { broker: broker.url, body: `agent.start(); ${stop}` },
    {
      broker: silent.url,
      body: `agent.start(); await new Promise((r) => agent.on('token', r)); await new Promise((r) => setTimeout(r, 50)); ${stop}`,
    },
    {
      broker: 'mqtt://127.0.0.1:1',
      body: `agent.start(); await new Promise((r) => agent.on('unreachable', r)); ${stop}`,
    },
    {
      broker: broker.url,
      body: `agent.start(); await new Promise((r) => agent.on('renewed', r)); ${stop}`,
    },
    {
      broker: broker.url,
      body: `agent.start(); let n = 0; await new Promise((r) => agent.on('token', () => { n += 1; if (n === 2) r(); })); ${stop}`,
    },
  ];
  for (const { broker: url, body } of runs) {
    const credentials = deviceCredentials(issuer.origin, url);
    expect(await runAgent(credentials, body), body).toMatchObject({ code: 0 });
  }
});
