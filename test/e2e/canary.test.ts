import { createPrivateKey, type JsonWebKey } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, expect, test } from 'vitest';
import { assertionForm, clientAssertion } from '../support/client-assertion.ts';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const outside = join(dirname(data.path), 'outside');
const brokerAudit = join(outside, 'broker-audit.jsonl');
let running: RunningFleetgate | undefined;
afterAll(async () => {
  await running?.stop();
  data.remove();
});

/** Nothing of these may be found. */
const secrets = new Set<string>();
/** Where it is looked for: names and texts. */
const places: [string, Buffer][] = [];

const look = (place: string, text: string | Buffer) => places.push([place, Buffer.from(text)]);

/** A secret in each form it travels in. */
function secret(text: string): string {
  secrets.add(text);
  return text;
}

function token(text: string): string {
  // The first parts say nothing; the last makes a token of them.
  secrets.add(text.split('.')[2] as string);
  return secret(text);
}

/** Arguments of all processes, again and again. */
function watchArguments(): () => void {
  const seen = new Set<string>();
  const timer = setInterval(() => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        seen.add(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
      } catch {
        // It has ended meanwhile.
      }
    }
  }, 20);
  return () => {
    clearInterval(timer);
    look('ps', [...seen].join('\n'));
  };
}

async function keep(place: string, response: Response): Promise<void> {
  look(place, `${response.status} ${JSON.stringify([...response.headers])}\n${await response.text()}`);
}

test('no secret, token, key or payload is in a log, an audit row, an error, a metric, a file or an argument', async () => {
  mkdirSync(outside);
  const stopWatching = watchArguments();
  running = await startFleetgate([
    'up',
    ...freePorts(data.path),
    ...['--set', 'log.level=trace', '--set', `broker.audit_file=${brokerAudit}`],
    ...['--set', 'broker.denied_publish=drop'],
  ]);
  const { issuer, admin } = running.ready as { issuer: string; admin: string };
  const adminKey = secret(readFileSync(join(data.path, 'admin.key'), 'utf8').trim());
  const api = (method: string, path: string, body?: unknown, key = adminKey) =>
    fetch(`${admin}${path}`, {
      method,
      headers: { 'api-key': key, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });

  // Clients, by command and by API, a rotation, an API key.
  const credentials = join(outside, 'device.json');
  const scope = 'mqtt:publish:devices/{client_id}/#';
  const created = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'device', '--scope', scope, '--out', credentials],
  ]);
  look('client create', created.stdout + created.stderr);
  const device = (JSON.parse(readFileSync(credentials, 'utf8')) as { auth: { client_secret: string } }).auth;
  const deviceSecret = secret(device.client_secret);
  const made = (await (await api('POST', '/v1/clients', { client_id: 'other', scope })).json()) as {
    client_secret: string;
  };
  const otherSecret = secret(made.client_secret);
  const rotated = (await (await api('POST', '/v1/clients/other/secrets', {})).json()) as {
    client_secret: string;
  };
  secret(rotated.client_secret);
  const keyMade = (await (
    await api('POST', '/v1/api-keys', { name: 'auditor', role: 'auditor' })
  ).json()) as {
    api_key: string;
  };
  const apiKey = secret(keyMade.api_key);
  await keep('role', await api('DELETE', '/v1/clients/device', undefined, apiKey));

  // A client with a key of its own, one by SuperTokens' routes, and an app.
  const keyed = join(outside, 'keyed.json');
  const byKey = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'keyed', '--scope', 'fleetgate.revocations'],
    ...['--auth', 'private_key_jwt', '--out', keyed],
  ]);
  look('client create', byKey.stdout + byKey.stderr);
  const { private_jwk } = (
    JSON.parse(readFileSync(keyed, 'utf8')) as {
      auth: { private_jwk: JsonWebKey & { d: string; alg: string } };
    }
  ).auth;
  secret(private_jwk.d);
  const recipe = (await (await api('POST', '/recipe/oauth/clients', { clientId: 'recipe' })).json()) as {
    clientSecret: string;
  };
  const recipeSecret = secret(recipe.clientSecret);
  const app = (await (await api('POST', '/v1/apps', { app_id: 'plant' })).json()) as { admin_key: string };
  const appKey = secret(app.admin_key);
  const appClient = (await (
    await api('POST', '/appid-plant/v1/clients', { client_id: 'device' }, appKey)
  ).json()) as { client_secret: string };
  const appSecret = secret(appClient.client_secret);
  await keep('app key', await api('GET', '/v1/clients', undefined, appKey));

  // Tokens, and what is wrong with requests for them.
  for (const [id, text] of [
    ['device', deviceSecret],
    ['other', otherSecret],
    ['other', rotated.client_secret],
  ] as const) {
    secret(Buffer.from(`${id}:${text}`).toString('base64'));
    const response = await requestToken(issuer, id, text);
    token(((await response.json()) as { access_token: string }).access_token);
  }
  const commanded = await runFleetgate(['token', 'request', '--credentials', credentials]);
  expect(commanded.code).toBe(0);
  token(commanded.stdout.trim());
  look('token request', commanded.stderr);
  token(
    (
      (await (await requestToken(`${issuer}/appid-plant`, 'device', appSecret)).json()) as {
        access_token: string;
      }
    ).access_token,
  );
  await keep('app', await requestToken(`${issuer}/appid-plant`, 'other', appSecret));

  // A device with an OSCORE context, its token and its payload on the wire, and what is wrong with that.
  const constrained = join(outside, 'constrained.json');
  const byContext = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'constrained', '--scope', scope],
    ...['--auth', 'oscore', '--out', constrained],
  ]);
  look('client create', byContext.stdout + byContext.stderr);
  const { auth: context } = JSON.parse(readFileSync(constrained, 'utf8')) as {
    auth: { master_secret: string; master_salt: string };
  };
  for (const hex of [context.master_secret, context.master_salt]) {
    secret(hex);
    secret(Buffer.from(hex, 'hex').toString('base64'));
  }
  for (const args of [[], ['--format', 'json']]) {
    const asked = await runCommand(process.execPath, [
      ...['--conditions=@fleetgate/source', join(import.meta.dirname, '../../agent/main.ts')],
      ...['token', '--credentials', constrained, ...args],
    ]);
    expect(asked.code, asked.stderr).toBe(0);
    token(args.length === 0 ? asked.stdout.trim() : JSON.parse(asked.stdout).access_token);
    look('agent token', asked.stderr);
  }
  const nextContext = await runFleetgate([
    ...['client', 'rotate-secret', 'constrained', '--data', data.path, '--out', constrained],
  ]);
  expect(nextContext.code, nextContext.stderr).toBe(0);
  look('client rotate-secret', nextContext.stdout + nextContext.stderr);
  secret((JSON.parse(readFileSync(constrained, 'utf8')) as { auth: typeof context }).auth.master_secret);
  await keep('context over http', await requestToken(issuer, 'constrained', context.master_secret));

  // An assertion, sent twice.
  const assertion = clientAssertion(
    {
      alg: 'ES256',
      privateKey: createPrivateKey({ key: private_jwk, format: 'jwk' }),
      publicJwk: private_jwk,
      jwks: { keys: [] },
    },
    'keyed',
    issuer,
  );
  const assert = () =>
    fetch(`${issuer}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams(assertionForm(token(assertion))),
    });
  const readerToken = token(((await (await assert()).json()) as { access_token: string }).access_token);
  await keep('assertion again', await assert());
  const reading = new AbortController();
  await fetch(`${issuer}/revocations`, {
    headers: { authorization: `Bearer ${readerToken}` },
    signal: reading.signal,
  });
  reading.abort();
  const deviceToken = [...secrets].find((text) => text.startsWith('eyJ')) as string;
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${issuer}${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    });
  for (const text of [
    deviceSecret,
    deviceToken,
    adminKey,
    appKey,
    recipeSecret,
    secret('canary-5e50f1-of-nobody-aaaaaaaaaaaaaaaaaaa'),
  ]) {
    await keep('basic', await requestToken(issuer, 'other', text));
    await keep('query', await fetch(`${issuer}/oauth/token?client_secret=${text}`, { method: 'POST' }));
    await keep('twice', await post('/oauth/token', `client_secret=${text}&client_secret=${text}`));
    await keep(
      'json',
      await post('/oauth/token', `{"client_secret":"${text}"`, { 'content-type': 'application/json' }),
    );
    await keep(
      'bearer',
      await fetch(`${issuer}/revocations`, { headers: { authorization: `Bearer ${text}` } }),
    );
    await keep('path', await fetch(`${issuer}/${text}`));
    await keep(
      'introspect',
      await post('/oauth/introspect', `client_id=${text}&client_secret=x&token=${text}`),
    );
    await keep('revoke', await post('/oauth/revoke', `client_id=device&client_secret=${text}&token=${text}`));
    await keep('key', await api('GET', '/v1/clients', undefined, `${text}x`));
    await keep('admin path', await api('GET', `/v1/clients/${text}`));
    await keep('admin body', await api('POST', '/v1/clients', { client_secret: text }));
    await keep(
      'recipe',
      await api('POST', '/recipe/oauth/clients', { clientId: 'recipe', clientSecret: text }),
    );
    await keep('recipe path', await api('GET', `/recipe/oauth/clients?clientId=${text}`));
    await keep('app path', await fetch(`${issuer}/appid-${text}/${text}`));
    await keep(
      'camel',
      await post('/oauth/token', JSON.stringify({ clientId: text, clientSecret: text }), {
        'content-type': 'application/json',
      }),
    );
    await keep('admin text', await api('POST', '/v1/clients', `{"name":"${text}`));
  }

  // Sessions: one that may, and those that may not.
  const mqtt = running.ready['mqtt'] as string;
  const payload = secret('canary-5e50f1-of-a-payload');
  const session = (password: string) =>
    connectAsync(mqtt, {
      clientId: 'device',
      username: 'device',
      password,
      reconnectPeriod: 0,
      connectTimeout: 5000,
    });
  const client = await session(deviceToken);
  await client.publishAsync('devices/device/t', payload, { qos: 1 });
  await client.publishAsync('$fleetgate/token', commanded.stdout.trim(), { qos: 1 });
  await client.publishAsync('devices/another/t', payload, { qos: 1 });
  await client.endAsync();
  for (const password of [deviceSecret, `${deviceToken.slice(0, -4)}AAAA`, adminKey]) {
    await expect(session(password)).rejects.toThrow();
  }

  // Revoked by the token itself, which is in a file and not in an argument.
  const tokenFile = join(outside, 'seen.jwt');
  writeFileSync(tokenFile, deviceToken);
  const revoked = await runFleetgate(['revoke', 'token', '--data', data.path, '--token-file', tokenFile]);
  expect(revoked.code).toBe(0);
  look('revoke', revoked.stdout + revoked.stderr);
  await expect(session(deviceToken)).rejects.toThrow();

  await lookEverywhere(admin);
  stopWatching();
  expect(await running.stop()).toBe(0);
  look('log', running.stderr());

  const found = places.flatMap(([place, content]) =>
    [...secrets].filter((text) => content.includes(text)).map((text) => `${place}: ${text}`),
  );
  expect(found).toEqual([]);
  // It would be found: each kind of place holds what may be there.
  const holders = places.filter(([, content]) => content.includes('device')).map(([place]) => place);
  expect(holders).toEqual(
    expect.arrayContaining(['log', 'ps', 'audit', 'fleetgate.db-wal', 'broker audit', 'client create']),
  );
  const metrics = places.find(([place]) => place === 'metrics')?.[1];
  for (const name of ['fleetgate_connects_total', 'fleetgate_issuer_refusals_total']) {
    expect(metrics?.includes(name), name).toBe(true);
  }
});

async function lookEverywhere(admin: string): Promise<void> {
  const audit = await runFleetgate(['audit', 'export', '--data', data.path]);
  expect(audit.code).toBe(0);
  look('audit', audit.stdout + audit.stderr);
  look('metrics', await (await fetch(`${admin}/metrics`)).text());
  look('ready', await (await fetch(`${admin}/readyz`)).text());
  look('broker audit', readFileSync(brokerAudit));
  // The database may hold no secret of a client; the key files are for that.
  for (const name of readdirSync(data.path, { recursive: true, withFileTypes: true })) {
    if (!name.isFile() || name.name.endsWith('.key')) continue;
    look(name.name, readFileSync(join(name.parentPath, name.name)));
  }
}
