import {
  chmodSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  const append = (to: string, maxWaitingBytes: number) =>
    appendEvents(openSync(to, 'a'), to, log as never, maxWaitingBytes);
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
