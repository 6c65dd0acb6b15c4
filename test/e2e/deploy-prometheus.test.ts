import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../bench/free-port.ts';
import { agentPublish } from '../support/agent-publish.ts';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
} from '../support/fleetgate-process.ts';
import { parseMetrics } from '../support/prometheus-text.ts';

const deploy = resolve(import.meta.dirname, '../../deploy');
const scratch = mkdtempSync(join(tmpdir(), 'fleetgate-prometheus-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const promtool = (...args: readonly string[]) =>
  spawnSync('promtool', args, { cwd: scratch, encoding: 'utf8' });
const isMissing = promtool('--version').error !== undefined && process.env['CI'] === undefined;

interface Rule {
  readonly alert: string;
  readonly labels: Record<string, string>;
  readonly annotations: { summary: string };
}
const alerts = parse(readFileSync(join(deploy, 'prometheus/alerts.yaml'), 'utf8')) as {
  groups: { rules: Rule[] }[];
};
const rules = alerts.groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(deploy, 'grafana/fleetgate.json'), 'utf8')) as {
  panels: { title: string; targets: { expr: string }[] }[];
};

const whole = 'job="fleetgate",instance="i"';
const sessions = (of: string) => `fleetgate_sessions_expiring{${whole},le="${of}"}`;
const connects = (result: string) => `fleetgate_connects_total{${whole},result="${result}"}`;
const decisions = (action: string, result: string) =>
  `fleetgate_decisions_total{${whole},action="${action}",result="${result}"}`;
const requests = (result: string) =>
  `fleetgate_token_requests_total{${whole},act="issue",result="${result}"}`;
const of = (name: string, labels = '') => `${name}{${whole}${labels}}`;
/** All of a histogram's observations between these two bounds. */
const slow = (name: string, labels: string, bound: string, next: string) => ({
  [of(`${name}_bucket`, `${labels},le="${bound}"`)]: '0x90',
  [of(`${name}_bucket`, `${labels},le="${next}"`)]: '0+60x90',
  [of(`${name}_bucket`, `${labels},le="+Inf"`)]: '0+60x90',
});

/** A sample a minute for an hour and a half: with the first an alert fires, with the second it is quiet. */
const cases: Record<string, [fires: Record<string, string>, quiet: Record<string, string>]> = {
  FleetgateDown: [{ [of('up')]: '0x90' }, { [of('up')]: '1x90' }],
  FleetgateInternalErrors: [
    { [decisions('publish', 'internal_error')]: '0+1x90' },
    { [decisions('publish', 'internal_error')]: '3x90', [connects('accepted')]: '0+60x90' },
  ],
  FleetgateKeysUnavailable: [
    { [of('fleetgate_key_fetches_total', ',result="failed"')]: '0+1x90' },
    { [of('fleetgate_key_fetches_total', ',result="ok"')]: '0+1x90' },
  ],
  FleetgateRevocationFeedAway: [
    { [of('fleetgate_revocation_feed_away', ',issuer="x"')]: '1x90' },
    { [of('fleetgate_revocation_feed_away', ',issuer="x"')]: '0x90' },
  ],
  FleetgateClusterAway: [
    { [of('fleetgate_cluster_away')]: '1x90' },
    { [of('fleetgate_cluster_away')]: '0x90' },
  ],
  FleetgateConnectsRefused: [
    { [connects('token_expired')]: '0+30x90', [connects('accepted')]: '0+60x90' },
    { [connects('token_expired')]: '0+10x90', [connects('accepted')]: '0+60x90' },
  ],
  FleetgatePublishesRefused: [
    { [decisions('publish', 'no_rule')]: '0+61x90' },
    { [decisions('publish', 'no_rule')]: '0+59x90', [decisions('publish', 'allowed')]: '0+9999x90' },
  ],
  FleetgateSessionsNotRenewing: [
    { [sessions('60')]: '11x90', [sessions('+Inf')]: '100x90' },
    { [sessions('60')]: '9x90', [sessions('+Inf')]: '100x90' },
  ],
  FleetgateSessionsExpired: [
    { [of('fleetgate_sessions_cut_total', ',reason="session_expired"')]: '0+3x90' },
    { [of('fleetgate_sessions_cut_total', ',reason="token_revoked"')]: '0+3x90' },
  ],
  FleetgateMessagesDropped: [
    { [of('fleetgate_messages_dropped_total', ',reason="queue_full"')]: '0+1x90' },
    { [of('fleetgate_messages_dropped_total', ',reason="queue_full"')]: '7x90' },
  ],
  FleetgateAuditEventsLost: [
    { [of('fleetgate_audit_events_lost_total')]: '0+1x90' },
    { [of('fleetgate_audit_events_lost_total')]: '7x90' },
  ],
  FleetgateVerificationSlow: [
    slow('fleetgate_token_verify_seconds', '', '0.25', '0.5'),
    slow('fleetgate_token_verify_seconds', '', '0.1', '0.25'),
  ],
  FleetgateEventLoopSlow: [
    { [of('nodejs_eventloop_lag_p99_seconds')]: '0.3x90' },
    { [of('nodejs_eventloop_lag_p99_seconds')]: '0.2x90' },
  ],
  FleetgateRegistryNotReady: [
    { [of('fleetgate_registry_ready')]: '0x90' },
    { [of('fleetgate_registry_ready')]: '1x90' },
  ],
  FleetgateAppsNotReady: [
    { [of('fleetgate_apps', ',state="failing"')]: '2x90' },
    { [of('fleetgate_apps', ',state="failing"')]: '0x90', [of('fleetgate_apps', ',state="ready"')]: '2x90' },
  ],
  FleetgateNoTokenIssued: [
    { [requests('invalid_client')]: '0+1x90', [requests('ok')]: '9x90' },
    { [requests('invalid_client')]: '0+9x90', [requests('ok')]: '0+1x90' },
  ],
  FleetgateRegistryBacklog: [
    { [of('fleetgate_registry_waiting_acts')]: '1001x90' },
    { [of('fleetgate_registry_waiting_acts')]: '2000 0 2000 0 2000 0 2000 0 2000 0 2000 0x80' },
  ],
  FleetgateTokensRefused: [
    { [requests('invalid_client')]: '0+30x90', [requests('ok')]: '0+60x90' },
    { [requests('invalid_client')]: '0+10x90', [requests('ok')]: '0+60x90' },
  ],
  FleetgateTokenRequestsLimited: [
    { [requests('slow_down')]: '0+61x90' },
    { [requests('slow_down')]: '0+59x90', [requests('ok')]: '0+999x90' },
  ],
  FleetgateTokensSlow: [
    slow('fleetgate_token_request_seconds', ',act="issue"', '0.25', '0.5'),
    slow('fleetgate_token_request_seconds', ',act="introspect"', '0.25', '0.5'),
  ],
  FleetgateKeyRotationLate: [
    { [of('fleetgate_signing_key_rotation_seconds')]: '-3700-60x90' },
    { [of('fleetgate_signing_key_rotation_seconds')]: '99999-60x90' },
  ],
  FleetgateNextKeyMissing: [
    { [of('fleetgate_signing_key_next_published')]: '0x90' },
    { [of('fleetgate_signing_key_next_published')]: '0x50 1x40' },
  ],
};

describe.skipIf(isMissing)('deploy/prometheus (Debian: apt-get install prometheus)', () => {
  test('promtool finds nothing wrong', () => {
    cpSync(join(deploy, 'prometheus'), join(scratch, 'prometheus'), { recursive: true });
    const { status, stdout, stderr } = promtool(
      'check',
      'config',
      '--lint-fatal',
      'prometheus/prometheus.yaml',
    );
    expect([status, `${stdout}${stderr}`]).toEqual([
      0,
      expect.stringContaining(`${rules.length} rules found`),
    ]);
  });

  test('each alert has a case', () => {
    expect(Object.keys(cases)).toEqual(rules.map(({ alert }) => alert));
  });

  test.each(rules)('$alert fires, and is quiet', ({ alert, labels, annotations }) => {
    const [fires, quiet] = cases[alert] ?? [{}, {}];
    const test = (series: Record<string, string>, isFiring: boolean) => ({
      interval: '1m',
      input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
      // 85 min: longer than the longest `for`.
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${alert}",alertstate="firing",severity="${labels['severity']}"})`,
          eval_time: '85m',
          exp_samples: isFiring ? [{ labels: '{}', value: 1 }] : [],
        },
      ],
    });
    const file = join(scratch, `${alert}.yaml`);
    const rule_files = [join(deploy, 'prometheus/alerts.yaml')];
    writeFileSync(file, JSON.stringify({ rule_files, tests: [test(fires, true), test(quiet, false)] }));
    const { status, stdout, stderr } = promtool('test', 'rules', file);
    expect([status, `${stdout}${stderr}`]).toEqual([0, expect.stringContaining('SUCCESS')]);
    expect(annotations.summary).toContain('$labels.instance');
  });

  describe('a Prometheus that scrapes a running issuer and broker', () => {
    let running: RunningFleetgate;
    let prometheus: ReturnType<typeof spawn> | undefined;
    let api = '';
    let scraped = '';

    beforeAll(async () => {
      const data = join(scratch, 'data');
      running = await startFleetgate(['up', ...freePorts(data)]);
      const { ready } = running;
      const credentials = join(scratch, 'device.json');
      const create = ['client', 'create', '--data', data, '--id', 'd', '--scope', 'telemetry.write'];
      expect(await runFleetgate([...create, '--out', credentials])).toMatchObject({ code: 0 });
      await fetch(`${ready['issuer']}/oauth/token`, { method: 'POST' });
      expect(await agentPublish(credentials, ready['mqtt'] as string, 'devices/d/telemetry/t')).toBe(0);
      const { stdout: token } = await runFleetgate(['token', 'request', '--credentials', credentials]);
      await refusals(ready['mqtt'] as string, token.trim());

      const config = parse(readFileSync(join(deploy, 'prometheus/prometheus.yaml'), 'utf8'));
      config.global.scrape_interval = '1s';
      config.global.evaluation_interval = '1s';
      config.rule_files = [join(deploy, 'prometheus/alerts.yaml')];
      config.scrape_configs[0].static_configs[0].targets = [new URL(ready['admin'] as string).host];
      writeFileSync(join(scratch, 'here.yaml'), JSON.stringify(config));
      const port = await freePort();
      api = `http://127.0.0.1:${port}/api/v1`;
      prometheus = spawn(
        'prometheus',
        [
          `--config.file=${join(scratch, 'here.yaml')}`,
          `--storage.tsdb.path=${join(scratch, 'tsdb')}`,
          `--web.listen-address=127.0.0.1:${port}`,
        ],
        { stdio: 'ignore' },
      );
      // Rates need two samples.
      const samples = async () => {
        const found = await query('count_over_time(fleetgate_connections{protocol="mqtt"}[1m])').catch(
          () => [],
        );
        return Number(found[0]?.value[1] ?? 0);
      };
      await vi.waitFor(async () => expect(await samples()).toBeGreaterThan(2), {
        timeout: 30_000,
        interval: 500,
      });
      scraped = await (await fetch(`${ready['admin']}/metrics`)).text();
    }, 120_000);
    afterAll(async () => {
      prometheus?.kill();
      await running?.stop();
    });

    async function query(expr: string): Promise<{ value: [number, string] }[]> {
      const answer = await fetch(`${api}/query`, {
        method: 'POST',
        body: new URLSearchParams({ query: expr }),
      });
      const { data, error } = (await answer.json()) as {
        data: { result: { value: [number, string] }[] };
        error?: string;
      };
      if (error !== undefined) throw new Error(`${expr}: ${error}`);
      return data.result;
    }

    test('each rule is evaluated, and none fires of a fleet that is well but the refusals made here', async () => {
      interface State {
        name: string;
        health: string;
        lastError?: string;
        state: string;
      }
      const states = async () => {
        const { data } = (await (await fetch(`${api}/rules`)).json()) as {
          data: { groups: { rules: State[] }[] };
        };
        return data.groups.flatMap((group) => group.rules);
      };
      await expect
        .poll(async () => (await states()).map(({ health }) => health))
        .toEqual(rules.map(() => 'ok'));
      expect((await states()).filter(({ state }) => state === 'firing')).toEqual([]);
    });

    test.each(
      dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
    )('panel %s: %s', async (_title, expr) => {
      const result = await query(expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m'));
      const [name = ''] = /\b(?:fleetgate|nodejs)_\w+/.exec(expr) ?? [];
      // A counter with labels has no sample before the first event, as of revocations and renewals here.
      const isThere = parseMetrics(scraped).samples.some((one) => one.name === name);
      if (isThere) expect(result.length).toBeGreaterThan(0);
      else expect(scraped).toContain(`# TYPE ${name.replace(/_bucket$/, '')} `);
    });
  });
});

/** A CONNECT, and a SUBSCRIBE of a session, that the broker refuses. */
async function refusals(broker: string, token: string): Promise<void> {
  const options = { protocolVersion: 4, clientId: 'd', username: 'd', reconnectPeriod: 0 } as const;
  await expect(mqtt.connectAsync(broker, { ...options, password: 'x.y.z' })).rejects.toThrow();
  const client = await mqtt.connectAsync(broker, { ...options, password: token });
  await expect(client.subscribeAsync('#')).rejects.toThrow();
  await client.endAsync();
}
