import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { issuerFixture } from '../support/issuer-fixture.ts';

const root = resolve(import.meta.dirname, '../..');

/** The code of a page as JavaScript. */
function codeOf(page: string): string {
  const [, language, code = ''] =
    /```(js|ts)\n([\s\S]*?)```/.exec(readFileSync(join(root, page), 'utf8')) ?? [];
  return language === 'ts' ? compiled(code) : code;
}

/** As a Nest project compiles it. */
function compiled(code: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-readme-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'main.mts'), code);
  const flags = ['--experimentalDecorators', '--emitDecoratorMetadata', '--noCheck', '--ignoreConfig'];
  const shape = ['--target', 'es2022', '--module', 'nodenext', '--types', ''];
  execFileSync(process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    ...flags,
    ...shape,
    join(folder, 'main.mts'),
  ]);
  return readFileSync(join(folder, 'main.mjs'), 'utf8');
}

test.each([
  'docs/http-services.md',
  'adapters/express/README.md',
  'adapters/fastify/README.md',
  'adapters/nestjs/README.md',
])('the code of %s runs as it stands', async (page) => {
  const fixture = await issuerFixture();
  const client = await fixture.register({
    client_id: 'order-service',
    scope: 'stock.read stock.reserve',
    audience: ['inventory'],
  });
  const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
  // Only the issuer is another, and the port, which the system picks.
  const here = codeOf(page).replaceAll('http://127.0.0.1:8080', fixture.issuer.url);
  const free = here
    .replaceAll(/listen\(3002, '127\.0\.0\.1'/g, "listen(0, '127.0.0.1'")
    .replace('port: 3002', 'port: 0');
  const child = spawn(
    process.execPath,
    ['--conditions=@fleetgate/source', '--import', PRINT_PORT, '--input-type=module', '--eval', free],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout });
  const port = await new Promise<string>((got) => {
    lines.on('line', (line) => line.startsWith('port ') && got(line.slice(5)));
  });
  const statusOf = async (method: string, path: string, headers: Record<string, string> = {}) =>
    (await fetch(`http://127.0.0.1:${port}${path}`, { method, headers })).status;
  const authorization = `Bearer ${access_token}`;
  expect(await statusOf('POST', '/reservations')).toBe(401);
  expect(await statusOf('POST', '/reservations', { authorization })).toBeLessThan(300);
  if (page.startsWith('docs/')) return;
  expect(await statusOf('GET', '/health')).toBe(200);
  expect(await statusOf('GET', '/whoami')).toBe(401);
  expect(await statusOf('GET', '/whoami', { authorization })).toBe(200);
  expect(await statusOf('GET', '/stock', { authorization })).toBe(200);
});

/** Says the port of whatever listens. */
const PRINT_PORT = `data:text/javascript,${encodeURIComponent(`
  import { Server } from 'node:net';
  const { listen } = Server.prototype;
  Server.prototype.listen = function (...args) {
    this.once('listening', () => console.log('port ' + this.address().port));
    return listen.apply(this, args);
  };
`)}`;
