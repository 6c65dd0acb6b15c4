import { compileGrants, examplePolicy, explain, parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';

const policy = parsePolicy(examplePolicy, 'policy.yaml');
function explained(scopes: string[], topic: string) {
  const grants = compileGrants(policy, { clientId: 'a', scopes, claims: {} });
  const principal = { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
  return explain(principal, { action: 'publish', topic, qos: 0, retain: false, bytes: 0 }, 0);
}

test('a refusal names the nearest rule and where it parts', () => {
  expect(explained(['telemetry.write'], 'devices/b/telemetry/x').nearestMiss).toBe(
    '`devices/{client_id}/telemetry/#` of scope telemetry.write does not match because level 2 is `b`, not `a`',
  );
});

test('an unknown scope names the nearest known one', () => {
  expect(explained(['telemetry.wrte'], 'x').notes[0]).toContain('telemetry.write');
});

test('a deny is named', () => {
  expect(explained([], 'devices/a/firmware/x').because).toContain('deny `devices/+/firmware/#`');
});
