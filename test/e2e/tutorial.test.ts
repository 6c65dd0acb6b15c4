import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runCommand } from '../support/fleetgate-process.ts';

const root = resolve(import.meta.dirname, '../..');
const clone = mkdtempSync(join(tmpdir(), 'fleetgate-tutorial-'));
afterAll(() => rmSync(clone, { recursive: true, force: true }));

const isMissing = ['mosquitto_pub', 'jq', 'curl'].some(
  (program) => spawnSync(program, ['--help']).error !== undefined,
);

/** Whatever comes of it, nothing of it runs afterwards. */
const cleanUp = `trap 'kill $(jobs -p) $(jq .pid tutorial-data/runtime.json 2>/dev/null) 2>/dev/null || true' EXIT`;

/** The blocks of the page as one script, each named when it begins. */
function script(): string {
  const page = readFileSync(join(root, 'docs/tutorial.md'), 'utf8');
  return page
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const title = section.slice(0, section.indexOf('\n'));
      const blocks = Array.from(section.matchAll(/^```sh\n([\s\S]*?)^```$/gm), ([, block]) => block);
      return [`echo '== ${title}'`, ...blocks].join('\n');
    })
    .join('\n');
}

// On the ports that the page names: with them taken it fails, as it would for a reader.
test.skipIf(isMissing && process.env['CI'] === undefined)(
  'the tutorial, followed as it stands, ends in a fleet and leaves nothing behind',
  { timeout: 180_000 },
  async () => {
    const files = execFileSync('git', ['ls-files', '-z'], { cwd: root }).toString().split('\0');
    for (const file of files.filter((name) => name !== '' && existsSync(join(root, name)))) {
      mkdirSync(dirname(join(clone, file)), { recursive: true });
      cpSync(join(root, file), join(clone, file));
    }
    // What `npm ci` makes, which the tests themselves stand on.
    symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
    const before = readdirSync(clone).sort();
    const { code, stdout, stderr } = await runCommand(
      'bash',
      ['-ec', `cd '${clone}'\n${cleanUp}\n${script()}`],
      {
        timeoutMs: 170_000,
      },
    );
    expect([code, stdout + stderr]).toEqual([0, expect.stringContaining('== 9. Clean up')]);
    expect(stdout).toContain('presses/press-03/force {"force":42}');
    expect(stdout).toContain('refused (no_rule): publish presses/press-04/force');
    expect(stdout).not.toContain('"force":99');
    expect(readdirSync(clone).sort()).toEqual(before);
  },
);
