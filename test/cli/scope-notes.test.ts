import { parsePolicy } from '@fleetgate/broker';
import { expect, onTestFinished, test } from 'vitest';
import { scopeNotesInForce } from '../../cli/commands/scope-notes.ts';
import { scopeNotes } from '../../cli/policy/scope-notes.ts';
import { certificateFolder } from '../support/certificates.ts';

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

test('of many the first are told, and how many more there are', () => {
  const many = Array.from({ length: 22 }, (_, i) => `x${i}`).join(' ');
  const notes = scopeNotes(many, policy, 'policy.yaml');
  expect(notes).toHaveLength(21);
  expect(notes.at(-1)).toBe('and 2 more scopes grant nothing under policy.yaml');
});

test('under the policy of each audience: of a broker of another make also why the client gets no token for it', () => {
  const folder = certificateFolder();
  onTestFinished(folder.remove);
  const rules = '{ own: { publish: [ "d/{client_id}/t" ] } }';
  folder.write('rabbit.yaml', `version: 1\nscopes: ${rules}\n`);
  const targets = '[ { audience: rabbit, target: rabbitmq, policy_file: rabbit.yaml } ]';
  const config = folder.write('fleetgate.yaml', `issuer: { token_targets: ${targets} }\n`);
  const notes = (id: string, scope: string, audience: string[]) =>
    scopeNotesInForce({ id, scope, audience }, { config, data: folder.path });
  expect(notes('a', 'own', ['rabbit'])).toEqual([]);
  expect(notes('a', 'mqtt:publish:{client_id}/#', ['rabbit'])).toEqual([]);
  expect(notes('a', 'own.x', ['other'])).toEqual([]);
  expect(notes('a', 'owm', ['rabbit'])).toEqual([expect.stringContaining('rabbit.yaml does not define it')]);
  const [note] = notes('press.1', 'own', ['rabbit']);
  expect(note).toMatch(
    /^it gets no token for audience 'rabbit': .*publish d\/press\.1\/t of scope own: RabbitMQ takes/,
  );
});
