import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePolicy } from '@fleetgate/broker';
import { Ajv } from 'ajv';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../bench/free-port.ts';
import { isPostgresMissing, startPostgres } from '../../bench/postgres.ts';
import { isRedisMissing, startRedis } from '../../bench/redis.ts';
import { readConfig } from '../../cli/config/read.ts';
import { agentPublish } from '../support/agent-publish.ts';
import { createAuthority } from '../support/certificates.ts';
import { chart, find, helm, isHelmMissing, type Manifest, notes, render } from '../support/chart.ts';
import type { RunningFleetgate } from '../support/fleetgate-process.ts';
import { execInPod, expectReady, runPod } from '../support/pod.ts';

const scratch = mkdtempSync(join(tmpdir(), 'fleetgate-helm-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const text = (file: string) => readFileSync(join(chart, file), 'utf8');
const values = parse(text('values.yaml'));
const examples = ['sqlite', 'shared', 'broker'] as const;
const example = (name: string) => ['--values', join(chart, 'ci', `${name}-values.yaml`)];

/** Paths of the values that an operator sets, `a.b.c`; a map that is empty is one. */
function paths(of: Record<string, unknown>, before = ''): string[] {
  return Object.entries(of).flatMap(([key, value]) => {
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    const isOne = key.endsWith('Secret') || !isMap || Object.keys(value).length === 0 || key === 'resources';
    return isOne ? [`${before}${key}`] : paths(value as Record<string, unknown>, `${before}${key}.`);
  });
}

describe('deploy/helm/fleetgate, without helm', () => {
  test('is of the version of the packages', () => {
    const { version } = JSON.parse(readFileSync(join(chart, '../../../cli/package.json'), 'utf8'));
    expect(parse(text('Chart.yaml'))).toMatchObject({ version, appVersion: version });
  });

  test('its README has each value, and no other', () => {
    const rows =
      text('README.md')
        .split('## Values')[1]
        ?.match(/^\| `.*$/gm) ?? [];
    const named = rows.flatMap((row) => (row.split('|')[1] ?? '').match(/[A-Za-z.]+/g) ?? []);
    expect(named.sort()).toEqual(paths(values).sort());
  });

  test.each(['values.yaml', ...examples.map((name) => `ci/${name}-values.yaml`)])(
    '%s is what its schema takes',
    (file) => {
      const validate = new Ajv({ strict: true, strictTypes: false }).compile(
        JSON.parse(text('values.schema.json')),
      );
      expect([validate(parse(text(file))), validate.errors]).toEqual([true, null]);
    },
  );

  test('its schema knows each value, so that one misspelled is refused', () => {
    const validate = new Ajv({ strictTypes: false }).compile(JSON.parse(text('values.schema.json')));
    for (const misspelled of [
      { isuer: {} },
      { broker: { redis: { uri: '' } } },
      { issuer: { replicas: '2' } },
    ]) {
      expect(validate(misspelled)).toBe(false);
    }
    // It would stand in a ConfigMap.
    expect(validate({ broker: { redis: { url: 'redis://u:secret@h' } } })).toBe(false);
    expect(validate({ issuer: { postgres: { url: 'postgres://u:secret@h/d' } } })).toBe(false);
  });

  test('its policy is one', () => {
    expect(() => parsePolicy(values.policy, 'values.yaml')).not.toThrow();
  });
});

const kubernetesValidate = (file: string) =>
  spawnSync('kubernetes-validate', ['--strict', '--kubernetes-version', '1.31', file], { encoding: 'utf8' });
const isValidateMissing = kubernetesValidate('').error !== undefined;

describe.skipIf(isHelmMissing)('deploy/helm/fleetgate (go install helm.sh/helm/v3/cmd/helm)', () => {
  test.each(examples)('%s: helm finds nothing wrong', (name) => {
    const { status, stdout } = helm('lint', '--strict', chart, ...example(name));
    expect([status, stdout]).toEqual([0, expect.stringContaining('0 chart(s) failed')]);
  });

  describe.skipIf(isValidateMissing)('by the schemas of Kubernetes (PyPI: kubernetes-validate)', () => {
    /** Of the Prometheus operator, not of Kubernetes. */
    const isKnown = ({ kind }: Manifest) => kind !== 'ServiceMonitor';
    const write = (name: string, manifests: readonly Manifest[]) => {
      const file = join(scratch, `${name}.yaml`);
      writeFileSync(file, manifests.map((one) => `---\n${JSON.stringify(one)}\n`).join(''));
      return file;
    };

    test.each(examples)('%s is right', (name) => {
      const manifests = render(...example(name)).filter(isKnown);
      const { status, stdout, stderr } = kubernetesValidate(write(`kubernetes-${name}`, manifests));
      expect([status, `${stdout}${stderr}`]).toEqual([0, expect.any(String)]);
      expect(`${stdout}${stderr}`.match(/passed for resource/g)).toHaveLength(manifests.length);
    });

    test('a field that is none is not', () => {
      const [deployment] = render(...example('broker')).filter(({ kind }) => kind === 'Deployment');
      Object.assign(deployment?.spec.template.spec as object, { securityContxt: {} });
      const { status, stdout } = kubernetesValidate(write('wrong', [deployment as Manifest]));
      expect([status, stdout]).toEqual([1, expect.stringContaining('securityContxt')]);
    });
  });

  test.each([
    ['no URL', [], /issuer\.url is empty/],
    ['two issuers on SQLite', ['--set', 'issuer.replicas=2'], /set issuer\.postgres\.url/],
    ['two brokers without Redis', ['--set', 'broker.replicas=2'], /set broker\.redis\.url/],
    ['SQLite without a volume', ['--set', 'issuer.persistence.enabled=false'], /would be lost/],
    ['PostgreSQL without a key', ['--set', 'issuer.postgres.url=postgres://u@h/d'], /keyEncryptionKeySecret/],
    ['a broker that trusts nobody', ['--set', 'issuer.enabled=false'], /broker\.trustedIssuer is empty/],
    ['a value that is none', ['--set', 'issuer.ulr=x'], /ulr/],
  ])('%s is refused with its mend', (what, set, message) => {
    const url =
      what === 'no URL' || what.startsWith('a broker') ? [] : ['--set', 'issuer.url=https://i.example'];
    const { status, stderr } = helm('template', 'fleet', chart, ...url, ...set);
    expect([status, stderr]).toEqual([1, expect.stringMatching(message)]);
  });

  test.each(examples)('%s: pods may do nothing they need not', (name) => {
    const deployments = render(...example(name)).filter(({ kind }) => kind === 'Deployment');
    expect(deployments.length).toBeGreaterThan(0);
    for (const { spec } of deployments) {
      expect(spec.template.spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 1000,
          fsGroupChangePolicy: 'OnRootMismatch',
          seccompProfile: { type: 'RuntimeDefault' },
        },
      });
      for (const { securityContext } of spec.template.spec.containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
      }
    }
  });

  test('its uid is that of the image', () => {
    const image = readFileSync(join(chart, '../../docker/fleetgate.Dockerfile'), 'utf8');
    expect(image).toMatch(/^USER 1000:1000$/m);
  });

  test.each(examples)('%s: the configuration is read, and its ports are those of pod and Service', (name) => {
    const manifests = render(...example(name));
    for (const role of ['issuer', 'broker'] as const) {
      const deployment = manifests.find(
        ({ kind, metadata }) => kind === 'Deployment' && metadata.name === `fleet-fleetgate-${role}`,
      );
      if (deployment === undefined) continue;
      const file = join(scratch, `${name}-${role}.yaml`);
      const map = find(manifests, 'ConfigMap', `fleet-fleetgate-${role}`).data?.['fleetgate.yaml'] ?? '';
      writeFileSync(file, map);
      // Of what only several keys show, and of the files named, the runs below tell.
      const { config } = readConfig({ config: file });
      const { ports } = deployment.spec.template.spec.containers[0] ?? { ports: [] };
      const wanted =
        role === 'issuer'
          ? [config.issuer.http.port, ...(config.issuer.coap.enabled ? [config.issuer.coap.port] : [])]
          : config.broker.listeners.map(({ port }) => port);
      expect(ports.map(({ containerPort }) => containerPort)).toEqual([...wanted, config.admin.port]);
      const service = find(manifests, 'Service', `fleet-fleetgate-${role}`);
      expect(ports.map(({ name: port }) => port)).toEqual([
        ...service.spec.ports.map(({ targetPort }) => targetPort),
        'admin',
      ]);
      const { labels } = deployment.spec.template.metadata;
      expect(labels).toMatchObject(service.spec.selector);
      expect(labels).toMatchObject(deployment.spec.selector.matchLabels);
    }
  });

  test('the ServiceMonitor finds the admin listeners, and names the job of the alert rules', () => {
    const manifests = render(...example('shared'));
    const monitor = find(manifests, 'ServiceMonitor', 'fleet-fleetgate');
    const found = manifests.filter(
      ({ kind, metadata: { labels } }) =>
        kind === 'Service' &&
        Object.entries(monitor.spec.selector.matchLabels).every(([key, value]) => labels[key] === value),
    );
    expect(found.map(({ metadata }) => metadata.name).sort()).toEqual([
      'fleet-fleetgate-broker-admin',
      'fleet-fleetgate-issuer-admin',
    ]);
    expect(JSON.stringify(monitor)).toContain('{"targetLabel":"job","replacement":"fleetgate"}');
    expect(readFileSync(join(chart, '../../prometheus/alerts.yaml'), 'utf8')).toContain('job="fleetgate"');
  });

  test('one issuer on SQLite and one broker run, and what is printed makes a client', {
    timeout: 120_000,
  }, async () => {
    const port = await freePort();
    const set = ['--set', `issuer.url=http://127.0.0.1:${port}`];
    const manifests = render(...set, '--set', `issuer.config.issuer.http.port=${port}`);
    const roots = { issuer: join(scratch, 'sqlite-issuer'), broker: join(scratch, 'sqlite-broker') };
    const issuer = await runPod(manifests, 'fleet-fleetgate-issuer', roots.issuer, { set: ['admin.port=0'] });
    onTestFinished(() => void issuer.stop());
    await expectReady(manifests, 'fleet-fleetgate-issuer', { http: port });
    const [client, feed] = printedCommands(set);
    const device = await execInPod(roots.issuer, client);
    const mounted = { 'fleet-feed': { 'credentials.json': await execInPod(roots.issuer, feed) } };
    const withFeed = render(...set, '--set', 'broker.feedCredentialsSecret.name=fleet-feed');
    const broker = await runPod(withFeed, 'fleet-fleetgate-broker', roots.broker, {
      mounted,
      set: ['admin.port=0', 'broker.listeners.0.port=0'],
    });
    onTestFinished(() => void broker.stop());
    await expectReady(withFeed, 'fleet-fleetgate-broker', { admin: portOf(broker, 'admin') });
    const file = join(scratch, 'device.json');
    writeFileSync(file, device, { mode: 0o600 });
    expect(await agentPublish(file, broker.ready['mqtt'] as string, 'devices/sensor-1/telemetry/t')).toBe(0);
  });

  test.skipIf(isPostgresMissing || isRedisMissing)(
    'an issuer on PostgreSQL and a broker on Redis run by TLS, with their Secrets',
    { timeout: 120_000 },
    async () => {
      const [postgres, redis, authority] = await Promise.all([
        startPostgres(),
        startRedis({ requirepass: 'canary-redis' }),
        createAuthority(),
      ]);
      onTestFinished(async () => {
        await Promise.all([postgres.stop(), redis.stop()]);
      });
      const pair = await authority.issue('localhost');
      const port = await freePort();
      const tls = { 'tls.crt': pair.cert, 'tls.key': pair.key };
      const mounted = {
        authorities: { 'ca.pem': authority.cert },
        'issuer-tls': tls,
        'broker-tls': tls,
        postgres: { password: 'canary-postgres' },
        redis: { password: 'canary-redis\n' },
        'console-oidc': { secret: 'canary-oidc' },
        'issuer-key': { key: randomBytes(32).toString('base64') },
      };
      const manifests = render(
        ...example('shared'),
        ...['--set', `issuer.url=https://localhost:${port},issuer.config.issuer.http.port=${port}`],
        ...['--set', `issuer.postgres.url=postgres://fleetgate@127.0.0.1:${postgres.port}/postgres`],
        ...['--set', `broker.redis.url=${redis.url},broker.redis.username=`],
        ...['--set', 'broker.feedCredentialsSecret.name=,issuer.env=null'],
      );
      const root = join(scratch, 'shared-issuer');
      const issuer = await runPod(manifests, 'fleet-fleetgate-issuer', root, {
        mounted,
        set: ['admin.port=0', 'issuer.coap.port=0'],
      });
      onTestFinished(() => void issuer.stop());
      expect(readFileSync(join(root, 'etc/fleetgate-secrets/oidc'), 'utf8')).toBe('canary-oidc');
      const own = { NODE_EXTRA_CA_CERTS: join(root, 'etc/fleetgate-ca/ca.pem') };
      await expectReady(manifests, 'fleet-fleetgate-issuer', { http: port }, own);
      const broker = await runPod(manifests, 'fleet-fleetgate-broker', join(scratch, 'shared-broker'), {
        mounted,
        set: ['admin.port=0', 'broker.listeners.0.port=0', 'broker.listeners.1.port=0'],
      });
      onTestFinished(() => void broker.stop());
      await expectReady(manifests, 'fleet-fleetgate-broker', { admin: portOf(broker, 'admin') });
      expect(broker.ready).toMatchObject({ mqtts: expect.any(String), wss: expect.any(String) });
      expect(`${issuer.stderr()}${broker.stderr()}${JSON.stringify(manifests)}`).not.toContain('canary');
    },
  );
});

const portOf = ({ ready }: RunningFleetgate, name: string) => Number(new URL(ready[name] as string).port);

/** The commands for the pod of what `helm install` prints: a client for a device, and one for the broker. */
function printedCommands(set: readonly string[]): [string, string] {
  const printed = notes(join(scratch, 'chart'), ...set);
  expect(printed).toContain('kubectl --namespace default exec deploy/fleet-fleetgate-issuer -- sh -c');
  const commands = Array.from(printed.matchAll(/sh -c \\\n\s+'([^']+)'/g), ([, command = '']) => command);
  expect(commands).toHaveLength(2);
  return commands as [string, string];
}
