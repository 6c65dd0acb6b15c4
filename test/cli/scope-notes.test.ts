import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { scopeNotes } from '../../cli/commands/scope-notes.ts';

const policy = parsePolicy('version: 1\nscopes: { event.create: { publish: [ a ] } }\n', 'policy.yaml');

test.each([
  ['a scope that the policy defines', 'event.create', 0],
  ['a direct scope', 'mqtt:publish:b', 0],
  ['a scope of the issuer itself', 'fleetgate.revocations', 0],
  ['a pattern below which the policy defines one', 'event.*', 0],
  ['a pattern below which it defines none', 'other.*', 1],
  ['a pattern that only begins alike', 'even.*', 1],
  ['a scope that it does not define', 'event.crate', 1],
  ['two of them', 'x y', 2],
])('%s', (_name, scope, notes) => {
  expect(scopeNotes(scope, policy, 'policy.yaml')).toHaveLength(notes);
});
