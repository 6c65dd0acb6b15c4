import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_SEQUENCE_NUMBER } from '@fleetgate/shared';
import { expect, onTestFinished, test } from 'vitest';
import { openSequenceNumbers } from '../../agent/sequence-numbers.ts';

const BEGIN_MS = Date.UTC(2020, 0, 1);
const clock = () => BEGIN_MS + 1000;

const placeIn = (directory: string) => join(directory, 'device.sequence');

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-sequence-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('a block that others took and left behind between two looks is not taken again', async () => {
  const directory = newDirectory();
  const path = placeIn(directory);
  // The clock is read after the first look: meanwhile others have used the block up to 1064, and that up to 1128.
  const numbers = openSequenceNumbers(path, () => {
    writeFileSync(`${path}-1128`, '');
    return clock();
  });
  expect(await numbers.next()).toBe(1128);
});

test('processes that share a file get no number twice', async () => {
  const path = placeIn(newDirectory());
  const sharing = Array.from({ length: 8 }, () => openSequenceNumbers(path, clock));
  const taken = await Promise.all(
    sharing.flatMap((numbers) => Array.from({ length: 200 }, () => numbers.next())),
  );
  expect(new Set(taken).size).toBe(taken.length);
});

test('a clock far ahead is refused, and leaves nothing behind when it is right again', async () => {
  const directory = newDirectory();
  const path = placeIn(directory);
  const ahead = openSequenceNumbers(path, () => Date.UTC(2100, 0, 1));
  await expect(ahead.next()).rejects.toMatchObject({ code: 'credentials_invalid' });
  expect(readdirSync(directory)).toEqual([]);
  expect(await openSequenceNumbers(path, clock).next()).toBe(1000);
});

test('numbers that are used up are refused in words that say what helps', async () => {
  const path = placeIn(newDirectory());
  writeFileSync(`${path}-${MAX_SEQUENCE_NUMBER - 10}`, '');
  await expect(openSequenceNumbers(path, clock).next()).rejects.toMatchObject({
    code: 'credentials_invalid',
    message: expect.stringContaining('rotate'),
  });
});
