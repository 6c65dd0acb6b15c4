import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { freePorts, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';
import { pageScripts, pageShell } from '../support/page-shell.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = join(root, 'docs/tasks');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const pages = readdirSync(folder).filter((name) => name !== 'index.md');
const index = read('index.md');
const setUp = pageScripts(index);

const isMissing = ['mosquitto_pub', 'jq', 'curl', 'openssl'].some(
  (program) => spawnSync(program, ['--help']).error !== undefined,
);

/** What each shows, and would not if a step of it did nothing. */
const seen: Readonly<Record<string, RegExp>> = {
  'backup.md': /^whole: \d+ rows/m,
  'http-service.md': /^orders of shop$[\s\S]*"invalid_token"/m,
  'people.md': /admin:line-2 {2}client\.create {2}pump-3 {2}ok/,
  'policy.md': /gains {3}publish {2}alarms\/pump-1\/#/,
  'refused.md': /^allowed: [\s\S]*^refused \(no_rule\): /m,
  'replace.md': /^labels +\{"hw":"rev-b"\}$/m,
  'secrets.md': /^state +done\n[\s\S]*^confirmed +2$/m,
  'signing-key.md': /^kind +issued_before$/m,
  'stolen.md': /client:pump-1 {2}token\.issue .* client_quarantined/,
  'tls.md': /^client_id +pump-9$/m,
};

test('each page is in the list, with its name', () => {
  const listed = Array.from(index.matchAll(/\| \[([^\]]+)\]\(([^)]+)\) \|/g), ([, name, file]) => [
    file,
    name,
  ]);
  const named = pages.map((file) => [file, /^# (.*)$/m.exec(read(file))?.[1]]);
  expect(listed.sort()).toEqual(named.sort());
});

test.skipIf(isMissing && process.env['CI'] === undefined).each(pages)(
  '%s runs as it stands',
  { timeout: 150_000 },
  async (name) => {
    const data = temporaryDirectory();
    const work = temporaryDirectory();
    const running = await startFleetgate(['up', ...freePorts(data.path)]);
    onTestFinished(async () => {
      await running.stop();
      data.remove();
      work.remove();
    });
    const run = pageShell(work.path, running, data.path);
    // What `npm ci` gives a service of the reader's own.
    symlinkSync(join(root, 'node_modules'), join(work.path, 'node_modules'));
    const page = read(name);
    // Whatever comes of it, nothing of it runs afterwards.
    const cleanUp = `trap 'kill $(jobs -p) $(jq .pid tls-data/runtime.json 2>/dev/null) 2>/dev/null || true' EXIT`;
    const { code, stdout, stderr } = await run([cleanUp, ...setUp, ...pageScripts(page)].join('\n'));
    expect(code, stdout + stderr).toBe(0);
    const refusals = page.split('|| echo "refused, as it must be"').length - 1;
    expect(stdout.split('refused, as it must be').length - 1, stdout + stderr).toBe(refusals);
    expect(stdout).toMatch(seen[name] as RegExp);
  },
);
