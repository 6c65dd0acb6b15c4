import { FleetgateError } from '@fleetgate/shared';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createReload, type Reloadable } from '../../cli/reload.ts';

function start(parts: readonly Reloadable[]) {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { reload: createReload(parts, log), lines };
}

const fine = (what: string) => ({ what, reload: async () => {} });

test('each part is reloaded and logged', async () => {
  const { reload, lines } = start([fine('certificates'), fine('policy')]);
  await reload();
  expect(lines).toMatchObject([
    { event: 'reloaded', what: 'certificates' },
    { event: 'reloaded', what: 'policy' },
  ]);
});

test('a mistake in one part is logged with its code and keeps nothing else', async () => {
  const bad: Reloadable = {
    what: 'certificates',
    reload: async () => {
      throw new FleetgateError('tls_file_invalid', 'server.pem is damaged');
    },
  };
  const { reload, lines } = start([bad, fine('policy')]);
  await reload();
  expect(lines).toMatchObject([
    { event: 'reload_failed', what: 'certificates', code: 'tls_file_invalid' },
    { event: 'reloaded', what: 'policy' },
  ]);
  expect(lines[0]?.['msg']).toContain('server.pem is damaged');
});

test('the message of what nobody expected is not logged', async () => {
  const bad: Reloadable = {
    what: 'certificates',
    reload: async () => {
      throw new RangeError('canary');
    },
  };
  const { reload, lines } = start([bad]);
  await reload();
  expect(lines).toMatchObject([{ event: 'reload_failed', code: 'internal_error' }]);
  expect(JSON.stringify(lines)).not.toContain('canary');
});

test('reloads that overlap run one after the other', async () => {
  const order: string[] = [];
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let count = 0;
  const part: Reloadable = {
    what: 'certificates',
    async reload() {
      const number = ++count;
      order.push(`begin ${number}`);
      if (number === 1) await gate;
      order.push(`end ${number}`);
    },
  };
  const { reload } = start([part]);
  const both = [reload(), reload()];
  release();
  await Promise.all(both);
  expect(order).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2']);
});
