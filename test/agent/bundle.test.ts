import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatCredentials } from '@fleetgate/shared';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundleAgent } from '../../deploy/bundle-agent.ts';
import { deviceCredentials, startBroker, startIssuer } from '../support/agent-fixture.ts';

// The bundle alone, in a folder with nothing else in it: all it needs is Node.

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-bundle-'));
let file: string;
beforeAll(async () => {
  file = await bundleAgent(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]) {
  return runWith({}, ...args);
}

async function runWith(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [file, ...args], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}

test('the bundle is of 600 KB at most and says its version', async () => {
  expect(statSync(file).size).toBeLessThanOrEqual(600_000);
  expect(statSync(file).mode & 0o111).toBe(0o111);
  expect(await run('--version')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  });
});

test('the bundle says what to install where traces are asked for, and has none of it itself', async () => {
  const env = { OTEL_TRACES_EXPORTER: 'otlp' };
  expect(await runWith(env, 'token', '--credentials', 'device.json')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /npm install @opentelemetry\/api .*@opentelemetry\/exporter-trace-otlp-proto\n$/,
    ),
  });
});

test('the bundle fetches a token and publishes with it', { timeout: 60_000 }, async () => {
  const issuer = await startIssuer();
  const broker = await startBroker();
  const path = join(folder, 'device.json');
  writeFileSync(path, formatCredentials(deviceCredentials(issuer.origin, broker.url)), { mode: 0o600 });
  const published = await run('publish', '--credentials', path, 'devices/d1/t', '--qos', '1', '-m', '21.5');
  expect(published).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(broker.tokens).toEqual(['canary-token-1']);
});
