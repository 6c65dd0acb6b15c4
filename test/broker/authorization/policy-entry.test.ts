import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('the policy alone is loaded without a broker', () => {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = new Set();
    registerHooks({ load: (url, context, next) => (loaded.add(url), next(url, context)) });
    const { compileGrants, decide, parsePolicy } = await import('@fleetgate/broker/policy');
    const policy = parsePolicy('version: 1\\nscopes: { a: { publish: [ "d/{client_id}" ] } }', 'policy.yaml');
    const grants = compileGrants(policy, { clientId: 'x', scopes: ['a'], claims: {} });
    const principal = { clientId: 'x', issuer: '', tokenId: '', expiresAtMs: 1, grants };
    const attempt = { action: 'publish', topic: 'd/x', qos: 0, retain: false, bytes: 0 };
    console.log(JSON.stringify({
      ...decide(principal, attempt, 0),
      heavy: Array.from(loaded).filter((url) => /node_modules\\/(aedes|ioredis|ws|jose|pino)\\//.test(url)),
    }));
  `;
  const args = ['--conditions=@fleetgate/source', '--input-type=module', '--eval', script];
  const said = execFileSync(process.execPath, args, { cwd: import.meta.dirname, encoding: 'utf8' });
  expect(JSON.parse(said)).toEqual({ allowed: true, heavy: [] });
});
