import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startAdmin } from '../../cli/admin-listener.ts';
import { createMetrics } from '../../cli/metrics.ts';
import { parseMetrics } from '../support/prometheus-text.ts';

async function start(problems: () => Promise<readonly string[]> = async () => [], lost = () => 0) {
  const admin = await startAdmin({
    host: '127.0.0.1',
    port: 0,
    log: pino({ level: 'silent' }),
    problems,
    metrics: createMetrics(lost),
  });
  onTestFinished(() => admin.close());
  return admin;
}

test('/readyz is 200 without problems, and 503 with each of them', async () => {
  const found: string[] = [];
  const admin = await start(async () => found);
  const ready = await fetch(`${admin.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { status: 'ok' }]);
  found.push('one', 'another');
  const unavailable = await fetch(`${admin.url}/readyz`);
  expect([unavailable.status, await unavailable.json()]).toEqual([
    503,
    { status: 'unavailable', problems: ['one', 'another'] },
  ]);
  expect((await fetch(`${admin.url}/livez`)).status).toBe(200);
});

test('/metrics is the text format of Prometheus, and wants no key', async () => {
  let lost = 2;
  const admin = await start(undefined, () => lost);
  const scrape = async () => {
    const response = await fetch(`${admin.url}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return parseMetrics(await response.text());
  };
  expect((await scrape()).value('fleetgate_audit_events_lost_total')).toBe(2);
  lost = 5;
  const { value } = await scrape();
  expect(value('fleetgate_audit_events_lost_total')).toBe(5);
  expect(value('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThanOrEqual(0);
});

test('a URL that is malformed, or too long in a part, is refused without being quoted', async () => {
  const admin = await start();
  for (const path of ['/%zz-canary', `/${'canary'.repeat(1000)}`]) {
    const response = await fetch(`${admin.url}${path}`);
    expect([400, 404, 414]).toContain(response.status);
    const text = await response.text();
    expect(Object.keys(JSON.parse(text))).toEqual(['error', 'error_description']);
    expect(text).not.toContain('canary');
  }
});
