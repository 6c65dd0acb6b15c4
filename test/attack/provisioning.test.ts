import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Credentials } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { csvLine, undefused } from '../../cli/csv.ts';
import { describeError, UsageError } from '../../cli/exit.ts';
import { directorySink, lineSink } from '../../cli/fleet/credential-sink.ts';
import { onOneLine } from '../../cli/output.ts';
import { readRow } from '../../issuer/fleet/device-row.ts';
import { parseSelector } from '../../issuer/fleet/selector.ts';
import { compileTemplate, type DeviceRow } from '../../issuer/fleet/template.ts';
import { issuerFixture, temporaryDirectory } from '../support/issuer-fixture.ts';

const place = { number: 1, uuid: () => 'u' };
const settings = {} as Parameters<typeof compileTemplate>[1];
const fill = (template: Parameters<typeof compileTemplate>[0], row: Record<string, unknown>) =>
  compileTemplate(template, settings).fill(readRow(row) as DeviceRow, place, 0);

test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
  'a label called %s is one as any other, and changes no object',
  (label) => {
    const labels = Object.fromEntries([[label, 'of the {serial}']]);
    const template = { id: 'm-{serial}', labels };
    const filled = fill(template, { serial: '1', 'labels.spare': 'no' });
    expect(Object.entries(filled.labels ?? {})).toEqual([
      [label, 'of the 1'],
      ['spare', 'no'],
    ]);
    expect(Object.entries(fill(template, { serial: '1', [`labels.${label}`]: 'own' }).labels ?? {})).toEqual([
      [label, 'own'],
    ]);
    expect(Object.keys(Object.prototype)).toEqual([]);
  },
);

test('what comes of a pattern is bounded while it is filled', () => {
  const template = { id: 'm-{serial}', name: '{a}'.repeat(80) };
  expect(() => fill(template, { serial: '1', a: 'x'.repeat(1024) })).toThrow(/name comes out longer/);
});

test.each([
  ['a thousand conditions', Array(1000).fill('a=b').join(',')],
  ['a thousand values', `a in (${Array(1000).fill('b').join(',')})`],
  ['parentheses alone', '('.repeat(4096)],
  ['blanks', `a${' '.repeat(4000)}x in (b)`],
  ['commas and blanks', ', '.repeat(2048)],
  ['SQL as a name', "a'--=b"],
  ['a prefix that is all', 'client_id=*'],
])('a selector of %s is refused, and soon', (_what, text) => {
  const beganAt = performance.now();
  expect(() => parseSelector(text)).toThrow();
  expect(performance.now() - beganAt).toBeLessThan(500);
});

const credentials = {
  version: 1,
  client_id: 'm-1',
  issuer: 'https://issuer.example',
  auth: { method: 'client_secret_basic', client_secret: 'canary' },
} as Credentials;

test('credentials are written through no link, and into no file that others may read', async () => {
  const directory = await temporaryDirectory();
  const [link, wide, target] = ['link', 'wide', 'target'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  symlinkSync(target, link);
  writeFileSync(wide, '');
  chmodSync(wide, 0o644);
  for (const out of [link, wide]) await expect(lineSink(out, 0)).rejects.toThrow(UsageError);
  expect(existsSync(target)).toBe(false);
});

test('a file that lies where credentials are written first is replaced, and a link there is not followed', async () => {
  const directory = await temporaryDirectory();
  const [out, target] = [join(directory, 'out'), join(directory, 'target')];
  mkdirSync(out);
  writeFileSync(target, 'theirs');
  symlinkSync(target, join(out, '.m-1.json.new'));
  writeFileSync(join(out, '.m-2.json.new'), '', { mode: 0o644 });
  const sink = await directorySink(out);
  await sink.write([credentials, { ...credentials, client_id: 'm-2' }]);
  expect(readFileSync(target, 'utf8')).toBe('theirs');
  for (const name of ['m-1.json', 'm-2.json']) expect(statSync(join(out, name)).mode & 0o777).toBe(0o600);
});

test.each(['../m', 'a/b', '', 'a\0', '.\n'])(
  'a client id like %j becomes no name on the disk',
  async (client_id) => {
    const sink = await directorySink(join(await temporaryDirectory(), 'out'));
    await expect(sink.write([{ ...credentials, client_id }])).rejects.toMatchObject({ code: 'server_error' });
  },
);

test.each(['=1+1', '+1', '-1', '@a', '\t=1', '\r=1', "'=1"])(
  '%j is no formula in what is written',
  (cell) => {
    const [written = ''] = csvLine([cell]).match(/'[^"]*/) ?? [];
    expect(written.startsWith("'")).toBe(true);
    expect(undefused(`'${cell}`)).toBe(cell);
  },
);

test.each(['\x1b[2J', '\x1b]0;x\x07', '\x9b2J', '\r'])(
  'the control characters of %j get onto no terminal',
  (text) => {
    expect(onOneLine(text)).not.toContain(text[0]);
    expect(describeError(new UsageError(`row ${text}\nnext`))).toMatch(
      /^fleetgate: row [^\x00-\x1f\x7f-\x9f]+\nnext$/,
    );
  },
);

test('rows go on with the key of their job alone, and one row has one secret, also in a race', async () => {
  const { call } = await issuerFixture();
  await call('PUT', '/v1/templates/sensor', { id: 'sensor-{serial}' });
  const begin = async () =>
    (await (await call('POST', '/v1/provisioning-jobs', { template: 'sensor', total: 1 })).json()) as {
      job_id: string;
      job_key: string;
    };
  const [job, other] = [await begin(), await begin()];
  const send = (job_key: string) =>
    call('POST', `/v1/provisioning-jobs/${job.job_id}/rows`, {
      job_key,
      first_row: 1,
      rows: [{ serial: '1' }],
    });
  for (const key of [other.job_key, '', 'x']) expect((await send(key)).status).toBe(409);
  const answers = await Promise.all(Array.from({ length: 8 }, () => send(job.job_key)));
  const secrets = await Promise.all(
    answers.map(async (answer) => {
      const { results } = (await answer.json()) as { results: { client_secret: string }[] };
      return results[0]?.client_secret;
    }),
  );
  expect(new Set(secrets).size).toBe(1);
  const listed = await call('GET', '/v1/audit?action=client.create');
  expect(((await listed.json()) as { events: unknown[] }).events).toHaveLength(1);
});
