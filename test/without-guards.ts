import { spawn } from 'node:child_process';
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
const tests = ['--project', 'unit', 'test/broker', '--bail', '1', '--reporter', 'json'];

interface Outcome {
  readonly passed: number;
  /** Full names. */
  readonly failed: readonly string[];
}

function runWithout(name: string): Promise<Outcome> {
  const env = { ...process.env, FLEETGATE_TEST_WITHOUT: name };
  const child = spawn(process.execPath, [vitest, 'run', ...tests], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let json = '';
  child.stdout.on('data', (chunk) => {
    json += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      const report = JSON.parse(json) as {
        numPassedTests: number;
        testResults: { assertionResults: { status: string; fullName: string }[] }[];
      };
      const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
      const failed = results.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
      resolve({ passed: report.numPassedTests, failed });
    });
  });
}

const all = [...guards, ...connectChecks].map(({ name }) => name);
const chosen = process.argv.slice(2);
for (const name of chosen) if (!all.includes(name)) throw new Error(`no guard or check is named '${name}'`);

const whole = await runWithout('');
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
