import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { oauthErrorCodes, reasonCodes, tokenErrorCodes } from '@fleetgate/shared';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { auditEventNames } from '../broker/audit.ts';
import { allMetrics } from './support/all-metrics.ts';
import { parseMetrics, type Scrape } from './support/prometheus-text.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const page = read('docs/observability.md');

/** What the admin listener of a process with issuer and broker prints. */
let scrape: Scrape;
let text = '';

beforeAll(async () => {
  ({ text } = await allMetrics());
  scrape = parseMetrics(text);
});

const documented = Array.from(
  page.matchAll(/^\| `(fleetgate_\w+)` \| (\w+) \| ([^|]*)\|/gm),
  ([, name = '', type = '', labels = '']) => ({
    name,
    type,
    labels: Array.from(labels.matchAll(/`(\w+)`/g), ([, label]) => label as string),
  }),
);

describe('the page and /metrics', () => {
  test('have the same metrics of the same types', () => {
    const printed = Array.from(text.matchAll(/^# TYPE (fleetgate_\w+) (\w+)$/gm), ([, name, type]) => ({
      name,
      type,
    }));
    const byName = (one: { name?: string | undefined }, other: { name?: string | undefined }) =>
      String(one.name).localeCompare(String(other.name));
    expect(documented.map(({ name, type }) => ({ name, type })).sort(byName)).toEqual(printed.sort(byName));
  });

  test('have the same labels', () => {
    const samples = scrape.samples.filter(({ name }) => name.startsWith('fleetgate_'));
    expect(samples.length).toBeGreaterThan(0);
    for (const { name, labels } of samples) {
      const row = documented.find((one) => one.name === metricOf(name));
      const own = Object.keys(labels).filter((label) => !(label === 'le' && row?.type === 'histogram'));
      expect(own, name).toEqual(own.filter((label) => row?.labels.includes(label)));
      expect(own, name).toHaveLength(row?.labels.length ?? -1);
    }
  });

  test('have the lag of the event loop', () => {
    expect(page).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(scrape.names).toContain('nodejs_eventloop_lag_p99_seconds');
  });
});

test('the page has each event of the audit trail and no other', () => {
  const section = page.split('\n## ').find((one) => one.startsWith('Audit trail')) ?? '';
  const rows = Array.from(section.matchAll(/^\| `(\w+)` \|/gm), ([, name]) => name);
  expect(rows).toEqual([...auditEventNames]);
});

test('the page has each event of the log of broker, issuer and command, and no other', () => {
  const section = page.split('\n## ').find((one) => one.startsWith('Log lines')) ?? '';
  const rows = Array.from(section.matchAll(/^\| `(\w+)` \|/gm), ([, name]) => name as string);
  // The line on stdout, and what a session is told of itself.
  const others = new Set(['ready', 'expiring', 'renewed', 'session']);
  const written = ['verifier', 'broker', 'issuer', 'cli']
    .flatMap((room) =>
      readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).map((of) => join(room, of)),
    )
    .filter((file) => file.endsWith('.ts') && !/(^|\/)(dist|node_modules)\//.test(file))
    .flatMap((file) => Array.from(read(file).matchAll(/\{ event: '(\w+)'/g), ([, name]) => name as string));
  expect(rows.sort()).toEqual([...new Set(written)].filter((name) => !others.has(name)).sort());
});

/** Of a series, the metric it belongs to: a histogram has three. */
function metricOf(series: string): string {
  const base = series.replace(/_(bucket|count|sum)$/, '');
  return documented.some(({ name, type }) => name === base && type === 'histogram') ? base : series;
}

interface Rule {
  alert: string;
  expr: string;
}

const rules = (
  parse(read('deploy/prometheus/alerts.yaml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read('deploy/grafana/fleetgate.json')) as {
  panels: { title: string; targets: { expr: string }[] }[];
  templating: { list: { query: unknown }[] };
};
const queries = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
];

describe('alert rules and dashboard ask for what there is', () => {
  /** Of a scrape itself, and of the dashboard's own variables. */
  const given = ['up', 'job', 'instance'];
  const known = {
    result: [
      'accepted',
      'allowed',
      'hit',
      'miss',
      'ok',
      'failed',
      ...reasonCodes,
      ...tokenErrorCodes,
      ...oauthErrorCodes,
    ],
    reason: ['queue_full', ...reasonCodes, ...tokenErrorCodes],
    action: ['publish', 'receive', 'subscribe', 'will', 'packet'],
    le: ['60', '300', '900', '3600', '+Inf'],
  };

  test.each(queries)('%s', (_title, expr) => {
    const series = expr.match(/\b(?:fleetgate|nodejs|process)_\w+|\bup\b/g) ?? [];
    expect(series.length).toBeGreaterThan(0);
    for (const one of series) expect([...given, ...scrape.names], expr).toContain(metricOf(one));
    const labels = new Set([...given, 'le', ...documented.flatMap((one) => one.labels)]);
    const grouped = Array.from(
      expr.matchAll(/\b(?:by|ignoring|on) ?\(([^)]*)\)/g),
      ([, list]) => list as string,
    );
    for (const label of grouped.flatMap((list) => list.split(/, */))) expect(labels, expr).toContain(label);
    for (const [, selector = ''] of expr.matchAll(/\{([^}]*)\}/g)) {
      for (const [, label = '', value = ''] of selector.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)) {
        expect(labels, expr).toContain(label);
        const values = known[label as keyof typeof known];
        if (values !== undefined) expect(values, expr).toContain(value);
      }
    }
  });

  test('each metric has a panel', () => {
    const asked = new Set(
      dashboard.panels.flatMap(({ targets }) =>
        targets.flatMap(({ expr }) => (expr.match(/\bfleetgate_\w+/g) ?? []).map(metricOf)),
      ),
    );
    expect([...asked].sort()).toEqual(documented.map(({ name }) => name).sort());
  });

  test('the variables of the dashboard', () => {
    const asked = JSON.stringify(dashboard.templating).match(/\bfleetgate_\w+/g) ?? [];
    expect(asked).toEqual(['fleetgate_connections']);
  });
});

test('the code of the page runs as it stands', async () => {
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
  expect(code).toContain('listen(9464');
  const port = await new Promise<number>((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = server.address() as { port: number };
      server.close(() => done(free));
    });
  });
  const here = `${code.replace('9464', String(port)).trimEnd().replace(/;$/, '')}.on('listening', () => console.log('up'));`;
  const args = ['--conditions=@fleetgate/source', '--input-type=module', '--eval', here];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const { names } = parseMetrics(await (await fetch(`http://127.0.0.1:${port}`)).text());
  expect(names.every((name) => name.startsWith('fleetgate_'))).toBe(true);
  expect(names).toContain('fleetgate_connects_total');
});
