import { EventEmitter, once } from 'node:events';
import { prometheusObserver } from '@fleetgate/issuer/metrics';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AppFixture, createApp } from '../support/app-fixture.ts';
import { basic, form, hasApps, type IssuerFixture, issuerFixture, json } from '../support/issuer-fixture.ts';
import { parseMetrics } from '../support/prometheus-text.ts';
import { exchange, openTo } from '../support/raw-http.ts';

interface Line {
  event?: string;
  level: number;
  app?: string;
  route: string;
  status: number;
  reason?: string;
  reqId?: string;
}

let fixture: IssuerFixture;
let app: AppFixture;
let register: Registry;
let lines: string[];
const written = new EventEmitter();

beforeEach(async () => {
  lines = [];
  register = new Registry();
  const write = (line: string) => {
    lines.push(line);
    written.emit('line');
  };
  const log = pino({ level: 'debug' }, { write });
  fixture = await issuerFixture({ log, observer: prometheusObserver(register) });
  if (hasApps) app = await createApp(fixture, 'a');
});

const linesOf = (event: string) =>
  lines.map((line) => JSON.parse(line) as Line).filter((line) => line.event === event);

/** The lines of what is refused by `act`: written after the answer, so they are waited for. */
async function refusalsOf(act: () => Promise<unknown>): Promise<Line[]> {
  const before = linesOf('refused').length;
  await act();
  while (linesOf('refused').length === before) await once(written, 'line');
  // What would come of the same request would have been written with it.
  await fetch(`${fixture.issuer.url}/livez`);
  return linesOf('refused').slice(before);
}

async function counted(): Promise<Record<string, number>> {
  const { samples } = parseMetrics(await register.metrics());
  const refusals = samples.filter(
    ({ name, value }) => name === 'fleetgate_issuer_refusals_total' && value > 0,
  );
  return Object.fromEntries(
    refusals.map(({ labels: { listener, status, reason }, value }) => [
      `${listener} ${status} ${reason}`,
      value,
    ]),
  );
}

const canary = 'canary-7f3a';
const post = (path: string, body = '', headers: Record<string, string> = {}) =>
  fetch(`${fixture.issuer.url}${path}`, { method: 'POST', body, headers: { ...form, ...headers } });
const auditor = async () => {
  const answer = await fixture.call('POST', '/v1/api-keys', { name: 'reads', role: 'auditor' });
  return { 'api-key': ((await answer.json()) as { api_key: string }).api_key };
};
const reader = async () => {
  const answer = await fixture.tokenFor(await fixture.register({ client_id: 'reads' }));
  return { authorization: `Bearer ${((await answer.json()) as { access_token: string }).access_token}` };
};
const raw = (text: string) => exchange(openTo(fixture.issuer.port), text);

type Refused = [route: string, status: number, reason: string, act: () => Promise<unknown>];

const publicOfApps: Refused[] = hasApps
  ? [
      ['/appid-:app_id/*', 404, 'app_unknown', () => post('/appid-b/oauth/token', `client_secret=${canary}`)],
      [
        '/appid-a/oauth/token',
        401,
        'invalid_client',
        () => app.tokenFor({ client_id: 'x', client_secret: canary }),
      ],
    ]
  : [];
const adminOfApps: Refused[] = hasApps
  ? [
      ['/appid-a/v1/clients', 401, 'api_key_invalid', () => fixture.call('GET', '/appid-a/v1/clients')],
      ['/appid-:app_id/*', 404, 'app_unknown', () => fixture.call('GET', '/appid-b/v1/clients')],
    ]
  : [];

describe('a refusal is one line with the reason and one count', () => {
  test.each<Refused>([
    [
      '/oauth/token',
      401,
      'invalid_client',
      () => post('/oauth/token', 'grant_type=client_credentials', basic('x', canary)),
    ],
    ['/oauth/token', 400, 'invalid_request', () => post('/oauth/token', `client_secret=${canary}`)],
    ['/oauth/token', 400, 'invalid_request', () => post(`/oauth/token?client_secret=${canary}`)],
    ['/oauth/token', 405, 'invalid_request', () => fetch(`${fixture.issuer.url}/oauth/token?x=${canary}`)],
    ['/oauth/token', 413, 'invalid_request', () => post('/oauth/token', canary.repeat(7000))],
    ['/oauth/introspect', 401, 'invalid_client', () => post('/oauth/introspect', `token=${canary}`)],
    ['/oauth/revoke', 401, 'invalid_client', () => post('/oauth/revoke', `token=${canary}`)],
    [
      '/revocations',
      401,
      'invalid_token',
      () => fetch(`${fixture.issuer.url}/revocations`, { headers: { authorization: `Bearer ${canary}` } }),
    ],
    [
      '/revocations',
      403,
      'insufficient_scope',
      async () => fetch(`${fixture.issuer.url}/revocations`, { headers: await reader() }),
    ],
    ['none', 404, 'invalid_request', () => post(`/${canary}`)],
    ['none', 400, 'invalid_request', () => raw(`${canary}\r\n\r\n`)],
    ['none', 431, 'invalid_request', () => raw(`GET / HTTP/1.1\r\nx: ${canary.repeat(2000)}\r\n\r\n`)],
    ...publicOfApps,
  ])('public %s: %i %s', async (route, status, reason, act) => {
    const refusals = await refusalsOf(act);
    expect(refusals.map((line) => [line.level, line.route, line.status, line.reason])).toEqual([
      [40, route, status, reason],
    ]);
    expect(await counted()).toEqual({ [`public ${status} ${reason}`]: 1 });
    expect(refusals[0]?.app).toBe(route.startsWith('/appid-a') ? 'a' : undefined);
    expect(lines.join('')).not.toContain(canary);
  });

  test.each<Refused>([
    [
      '/v1/clients',
      401,
      'api_key_invalid',
      () => fixture.call('GET', '/v1/clients', undefined, { 'api-key': canary }),
    ],
    [
      '/v1/clients',
      403,
      'role_insufficient',
      async () => fixture.call('POST', '/v1/clients', {}, { ...json, ...(await auditor()) }),
    ],
    ['/v1/clients/:client_id', 404, 'client_unknown', () => fixture.call('GET', `/v1/clients/${canary}`)],
    [
      '/v1/clients',
      400,
      'scope_malformed',
      () => fixture.call('POST', '/v1/clients', { scope: `"${canary}"` }),
    ],
    ['/v1/clients', 400, 'invalid_request', () => fixture.call('POST', '/v1/clients', `{"${canary}`)],
    ['/v1/clients', 405, 'invalid_request', () => fixture.call('PUT', '/v1/clients')],
    [
      '/recipe/oauth/clients',
      401,
      'api_key_invalid',
      () => fixture.call('POST', '/recipe/oauth/clients', {}, { 'api-key': canary }),
    ],
    [
      '/recipe/oauth/clients',
      200,
      'scope_malformed',
      () => fixture.call('POST', '/recipe/oauth/clients', { scope: `"${canary}"` }),
    ],
    ...adminOfApps,
  ])('admin %s: %i %s', async (route, status, reason, act) => {
    const refusals = await refusalsOf(act);
    expect(refusals.map((line) => [line.level, line.route, line.status, line.reason])).toEqual([
      [40, route, status, reason],
    ]);
    expect(await counted()).toEqual({ [`admin ${status} ${reason}`]: 1 });
    expect(lines.join('')).not.toContain(canary);
  });
});

test('the line of a refusal leads to its row in the audit trail', async () => {
  const client = await fixture.register({ client_id: 'sensor-1' });
  const [refusal] = await refusalsOf(() => fixture.tokenFor({ ...client, client_secret: canary }));
  const answer = await fixture.call('GET', '/v1/audit?result=invalid_client');
  const { events } = (await answer.json()) as { events: { request_id: string; target: string }[] };
  expect(events.map(({ request_id, target }) => [request_id, target])).toEqual([
    [refusal?.reqId, 'sensor-1'],
  ]);
});
