import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { AuditEvent } from '@fleetgate/broker';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { appendEvents, openAuditFile } from '../../cli/audit-file.ts';

const event: AuditEvent = {
  at: '2026-01-01T00:00:00.000Z',
  event: 'connect_accepted',
  client_id: 'device-1',
};

function setUp() {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-audit-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'audit.jsonl');
  const logged: object[] = [];
  const log = { error: (line: object) => void logged.push(line) };
  const append = (to: string, maxWaitingBytes: number) => appendEvents(to, log as never, maxWaitingBytes);
  return { directory, path, logged, append, open: (at = path) => openAuditFile(at, log as never) };
}

const linesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as AuditEvent);

test('each event is a line of JSON, behind what is there already, in a file of mode 0600', async () => {
  const { path, open } = setUp();
  const first = open();
  first.write(event);
  await first.close();
  const second = open();
  for (const topic of ['a\nb', 'ü']) second.write({ ...event, topic });
  await second.close();
  expect(linesOf(path)).toEqual([event, { ...event, topic: 'a\nb' }, { ...event, topic: 'ü' }]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(second.lost()).toBe(0);
});

test('events beyond the bound are counted as lost, and said so once', async () => {
  const line = JSON.stringify(event).length + 1;
  const { path, logged, append } = setUp();
  const file = append(path, 10 * line);
  // In one go: the disk has no turn in between.
  for (let n = 0; n < 25; n += 1) file.write(event);
  expect(file.lost()).toBe(15);
  await file.close();
  expect(linesOf(path)).toHaveLength(10);
  expect(logged).toEqual([{ event: 'audit_events_lost', file: path }]);
});

test('an event after the end is lost, and throws nothing', async () => {
  const { open } = setUp();
  const file = open();
  await file.close();
  file.write(event);
  expect(file.lost()).toBe(1);
});

// Only Linux has a device that is always full.
test.runIf(existsSync('/dev/full'))('a disk that is full is logged once, and stops nothing', async () => {
  const { logged, append } = setUp();
  const file = append('/dev/full', 1_000);
  for (let n = 0; n < 100; n += 1) {
    file.write(event);
    await new Promise(setImmediate);
  }
  await vi.waitFor(() => expect(logged).toHaveLength(2));
  expect(logged).toContainEqual({ event: 'audit_file_failed', file: '/dev/full', code: 'ENOSPC' });
  expect(file.lost()).toBeGreaterThan(80);
  await file.close();
});

describe('opened again', () => {
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => ({ ...event, topic: String(from + n) }));

  test('it goes on in a new file where the old was renamed, and loses and repeats nothing', async () => {
    const { path, open } = setUp();
    const file = open();
    for (const one of numbered(0, 1000)) file.write(one);
    renameSync(path, `${path}.1`);
    for (const one of numbered(1000, 2000)) file.write(one);
    const reopened = file.reopen();
    for (const one of numbered(2000, 3000)) file.write(one);
    await reopened;
    for (const one of numbered(3000, 4000)) file.write(one);
    await file.close();
    expect([...linesOf(`${path}.1`), ...linesOf(path)]).toEqual(numbered(0, 4000));
    expect(linesOf(path).length).toBeGreaterThanOrEqual(1000);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(file.lost()).toBe(0);
  });

  // Only Linux lists them there.
  test.runIf(existsSync('/proc/self/fd'))('time and again it holds one descriptor', async () => {
    const { path, open } = setUp();
    const file = open();
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await file.reopen();
    const before = descriptors();
    for (let n = 0; n < 20; n += 1) {
      file.write({ ...event, topic: String(n) });
      renameSync(path, `${path}.${n}`);
      await file.reopen();
    }
    await vi.waitFor(() => expect(descriptors()).toBeLessThanOrEqual(before));
    await file.close();
  });

  test.each<[string, (path: string) => void, string]>([
    ['that others may write to', (path) => writeFileSync(path, '', { mode: 0o666 }), 'chmod 600'],
    ['that is a directory', (path) => mkdirSync(path), 'not a file'],
    ['in a directory that is gone', (path) => renameSync(dirname(path), `${dirname(path)}.1`), 'ENOENT'],
  ])('by the name of a file %s it stays with the old one', async (_what, spoil, words) => {
    const { directory, path, open } = setUp();
    onTestFinished(() => rmSync(`${directory}.1`, { recursive: true, force: true }));
    const file = open();
    file.write(event);
    // It is opened in the background.
    await vi.waitFor(() => expect(linesOf(path)).toEqual([event]));
    renameSync(path, `${directory}.old`);
    onTestFinished(() => rmSync(`${directory}.old`));
    spoil(path);
    if (words === 'chmod 600') chmodSync(path, 0o666);
    await expect(file.reopen()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining(words),
    });
    file.write(event);
    await file.close();
    expect(linesOf(`${directory}.old`)).toEqual([event, event]);
  });
});

describe('a file that will not do is an error that names it', () => {
  test('in a directory that is not there', () => {
    const { directory, open } = setUp();
    expect(() => open(join(directory, 'no', 'audit.jsonl'))).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining('ENOENT') }),
    );
  });

  test('a directory', () => {
    const { directory, open } = setUp();
    expect(() => open(directory)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
  });

  test('one that others may write to, with the chmod to run', () => {
    const { path, open } = setUp();
    writeFileSync(path, '');
    chmodSync(path, 0o620);
    expect(() => open()).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringContaining(`chmod 600 ${path}`),
      }),
    );
  });
});
