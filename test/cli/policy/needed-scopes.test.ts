import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { scopesNeeded, scopesNeededInTurns } from '../../../cli/policy/needed-scopes.ts';
import { plainPublish } from '../../../cli/policy/subject.ts';

// As many as a policy may have.
const MAX_SCOPES = 1_000;
const MAX_DENIES = 256;

const subject = { clientId: 'press-1', scopes: ['s7'], claims: {} };

test('of a policy at its limits, others have the event loop while the scopes that would do are looked for', async () => {
  const scopes = Array.from(
    { length: MAX_SCOPES },
    (_, i) => `  s${i}: { publish: [ ${i % 2 === 0 ? 'a' : 'b'}/# ] }`,
  );
  const denies = Array.from({ length: MAX_DENIES }, (_, i) => `  - { publish: [ no/${i}/+/x ] }`);
  const policy = parsePolicy(
    `version: 1\nscopes:\n${scopes.join('\n')}\ndeny:\n${denies.join('\n')}\n`,
    'policy.yaml',
  );
  let turns = 0;
  let isLooking = true;
  const count = () => {
    turns += 1;
    if (isLooking) setImmediate(count);
  };
  setImmediate(count);
  const found = await scopesNeededInTurns(policy, subject, plainPublish('a/x'));
  isLooking = false;
  expect(turns).toBeGreaterThan(MAX_SCOPES / 50);
  expect(found).toEqual(scopesNeeded(policy, subject, plainPublish('a/x')));
  expect(found.needed.slice(0, 3)).toEqual(['s0', 's2', 's4']);
  expect(found.neededMore).toBe(MAX_SCOPES / 2 - 10);
});
