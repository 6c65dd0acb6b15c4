import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { pino } from 'pino';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../cli/config/load.ts';
import { dataDirectory } from '../../cli/data-directory.ts';
import { up } from '../../cli/up.ts';
import { certificateFolder } from '../support/certificates.ts';

const folder = certificateFolder();
afterAll(folder.remove);

let files = 0;
const path = (kind: string) => {
  files += 1;
  return `${kind}-${files}`;
};
const file = (text: string) => folder.write(path('file'), text);

const policy = (filter: string) => `version: 1\nscopes:\n  s: { publish: [ '${filter}' ] }\n`;

const configOf = (targets: object[], issuer: object = {}) =>
  loadConfig(
    {
      config: file(
        JSON.stringify({
          issuer: { http: { port: 0 }, coap: { enabled: false }, token_targets: targets, ...issuer },
          admin: { port: 0 },
        }),
      ),
    },
    ['issuer'],
  ).config;

describe('what only several keys together show to be wrong', () => {
  test.each([
    [
      'an audience twice',
      [rabbit(), rabbit({ claim: 'x' })],
      {},
      'token_targets.1.audience rabbit is that of',
    ],
    ['a virtual host of EMQX', [{ audience: 'e', target: 'emqx', vhost: '/' }], {}, 'token_targets.0.vhost'],
    ['a claim of metadata', [rabbit()], { token_claims: ['extra_scopes'] }, 'claim extra_scopes'],
    [
      'a claim that grants by itself',
      [rabbit()],
      { token_claims: ['authorization'] },
      'copies authorization',
    ],
    [
      'a claim of rich authorization requests',
      [rabbit()],
      { token_claims: ['authorization_details'] },
      'copies authorization_details',
    ],
    [
      'a claim that lifts all rules',
      [{ audience: 'e', target: 'emqx' }],
      { token_claims: ['is_superuser'] },
      'copies is_superuser, by which emqx grants more',
    ],
    ['an unknown key', [rabbit({ host: '/' })], {}, "'host'"],
  ])('%s', (_rule, targets, issuer, words) => {
    expect(() => configOf(targets, issuer)).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining(words) }),
    );
  });
});

function rabbit(more: object = {}): object {
  return { audience: 'rabbit', target: 'rabbitmq', ...more };
}

async function start(targets: object[]) {
  const directory = dataDirectory(join(folder.path, path('data')));
  const running = await up(configOf(targets), directory, pino({ level: 'silent' }), ['issuer']);
  onTestFinished(() => running.close());
  const key = readFileSync(directory.adminKeyFile, 'utf8').trim();
  const registered = await fetch(`${running.ready.admin}/v1/clients`, {
    method: 'POST',
    headers: { 'api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: 'a', scope: 's', audience: ['rabbit', 'emqx'] }),
  });
  const { client_secret } = (await registered.json()) as { client_secret: string };
  return {
    running,
    async claims(audience: string): Promise<Record<string, unknown>> {
      const answer = await fetch(`${running.ready.issuer}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          ...{ grant_type: 'client_credentials', client_id: 'a', client_secret, audience },
        }),
      });
      return decodeJwt(((await answer.json()) as { access_token: string }).access_token);
    },
  };
}

describe('an issuer with token targets', () => {
  test('gives each audience its claim, by its policy', async () => {
    const { claims } = await start([
      rabbit({ policy_file: file(policy('d/{client_id}/x')) }),
      { audience: 'emqx', target: 'emqx', policy_file: file(policy('e/{client_id}/+')) },
    ]);
    expect((await claims('rabbit'))['extra_scopes']).toContain('rabbit.write:%2F/amq.topic/d.a.x');
    const ofEmqx = await claims('emqx');
    expect(ofEmqx['acl']).toContainEqual({ permission: 'allow', action: 'publish', topic: 'e/a/+' });
    expect(ofEmqx).not.toHaveProperty('extra_scopes');
  });

  test('does not start with a policy that cannot be said, and names each rule', async () => {
    const policyFile = file(policy('d/+/x'));
    await expect(start([rabbit({ policy_file: policyFile })])).rejects.toMatchObject({
      code: 'policy_untranslatable',
      message: expect.stringMatching(/audience rabbit.*\n.*:3:\d+: refused publish d\/\+\/x of scope s/),
    });
  });

  test('reads the policy again when it changes; one that cannot be said leaves the old in force', async () => {
    const policyFile = file(policy('d/one'));
    const { running, claims } = await start([rabbit({ policy_file: policyFile })]);
    const first = async () => ((await claims('rabbit'))['extra_scopes'] as string[])[0];
    writeFileSync(policyFile, policy('d/two'));
    await running.reload();
    expect(await first()).toBe('rabbit.write:%2F/amq.topic/d.two');
    writeFileSync(policyFile, policy('d/+'));
    await running.reload();
    expect(await first()).toBe('rabbit.write:%2F/amq.topic/d.two');
    writeFileSync(policyFile, policy('d/three'));
    await expect.poll(first, { timeout: 10_000 }).toBe('rabbit.write:%2F/amq.topic/d.three');
  });
});
