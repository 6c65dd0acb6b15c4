import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connectChecks } from '../broker/connect.ts';
import { guards } from '../broker/guard/guards.ts';

/**
 * Takes every guard and every check of CONNECT out in turn and runs the broker's tests without it: at least one must
 * fail, or the guard stands for nothing. Prints a line for each with a test that failed; exit 1 when none did.
 * Names as arguments choose among them.
 */
const root = resolve(import.meta.dirname, '..');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
// Those of the whole broker; the folders below test parts that no guard stands in front of.
const files = readdirSync(join(root, 'test/broker'))
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `test/broker/${name}`);
const tests = ['--project', 'unit', ...files, '--bail', '1', '--reporter', 'json'];

interface Outcome {
  readonly count: number;
  /** Full names. */
  readonly failed: readonly string[];
}

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-guards-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

function runWithout(name: string): Promise<Outcome> {
  const output = join(folder, 'report.json');
  rmSync(output, { force: true });
  const child = spawn(process.execPath, [vitest, 'run', ...tests, `--outputFile=${output}`], {
    cwd: root,
    env: { ...process.env, FLEETGATE_TEST_WITHOUT: name },
    stdio: 'ignore',
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      const report = JSON.parse(readFileSync(output, 'utf8')) as {
        testResults: { assertionResults: { status: string; fullName: string }[] }[];
      };
      const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
      const failed = results.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
      resolve({ count: results.length, failed });
    });
  });
}

const all = [...guards, ...connectChecks].map(({ name }) => name);
const chosen = process.argv.slice(2);
for (const name of chosen) if (!all.includes(name)) throw new Error(`no guard or check is named '${name}'`);

const whole = await runWithout('');
if (whole.count === 0) throw new Error('no test ran');
if (whole.failed.length > 0) throw new Error(`the tests fail with everything in place: ${whole.failed[0]}`);

const unneeded: string[] = [];
for (const name of chosen.length > 0 ? chosen : all) {
  const { failed } = await runWithout(name);
  if (failed.length === 0) unneeded.push(name);
  process.stdout.write(
    `${failed.length > 0 ? 'needed  ' : 'UNNEEDED'} ${name}\n         ${failed[0] ?? ''}\n`,
  );
}
process.stdout.write(
  `${all.length - unneeded.length} needed, ${unneeded.length} without a test that fails\n`,
);
if (unneeded.length > 0) process.exitCode = 1;
