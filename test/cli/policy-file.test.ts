import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parsePolicy } from '@fleetgate/broker';
import { expect, onTestFinished, test } from 'vitest';
import { watchPolicy } from '../../cli/policy-file.ts';

const INTERVAL_MS = 100;
const first = "version: 1\nscopes:\n  s: { publish: [ 'a/#' ] }\n";

/** A policy file that is watched, and what it held each time it was said to have changed. */
function watched() {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-policy-file-'));
  const file = join(directory, 'policy.yaml');
  writeFileSync(file, first);
  const taken: (string | undefined)[] = [];
  let wake = () => {};
  const stop = watchPolicy(
    file,
    () => {
      try {
        taken.push(readFileSync(file, 'utf8'));
      } catch {
        taken.push(undefined);
      }
      wake();
    },
    INTERVAL_MS,
  );
  onTestFinished(() => {
    stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const change = (count: number) =>
    new Promise<void>((resolve) => {
      wake = () => taken.length >= count && resolve();
      wake();
    });
  return { directory, file, taken, stop, change };
}

test('a slow writer is waited for, though each part of what it writes is a policy of its own', async () => {
  const { file, taken, change } = watched();
  const parts = Array.from({ length: 40 }, (_, n) => `  s${n}: { publish: [ 'b/${n}' ] }\n`);
  writeFileSync(file, 'version: 1\nscopes:\n');
  for (const part of parts) {
    appendFileSync(file, part);
    expect(() => parsePolicy(readFileSync(file, 'utf8'), file)).not.toThrow();
    await sleep(INTERVAL_MS / 5);
  }
  const whole = `${readFileSync(file, 'utf8')}deny:\n  - publish: [ b/0 ]\n`;
  writeFileSync(file, whole);
  await change(1);
  expect(taken).toEqual([whole]);
});

test('a file that is renamed into place is taken once', async () => {
  const { file, taken, change } = watched();
  const next = first.replace('a/#', 'b/#');
  writeFileSync(`${file}.new`, next);
  renameSync(`${file}.new`, file);
  await change(1);
  await sleep(3 * INTERVAL_MS);
  expect(taken).toEqual([next]);
});

test('a file that is gone is said to have changed, and so is one that is back', async () => {
  const { file, taken, change } = watched();
  rmSync(file);
  await change(1);
  writeFileSync(file, first);
  await change(2);
  expect(taken).toEqual([undefined, first]);
});

test('who stops watching is told nothing more', async () => {
  const { file, taken, stop } = watched();
  stop();
  writeFileSync(file, `${first}\n`);
  await sleep(3 * INTERVAL_MS);
  expect(taken).toEqual([]);
});
