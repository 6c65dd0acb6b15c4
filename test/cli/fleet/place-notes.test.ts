import { expect, test } from 'vitest';
import { placeNotes } from '../../../cli/fleet/place-notes.ts';

const template = { id: 'sensor-{serial}', group: 'plant-{plant}', labels: { hw: '{hw}' }, name: '{n:03}' };

test.each([
  ['names that fill places', ['serial', 'plant', 'hw', 'n'], []],
  ['a column that goes before the template', ['client_id', 'labels.hw', 'public_jwk'], []],
  ['a slip, once', ['seriel', 'seriel'], [/\{seriel\}; did you mean serial\?/]],
  ['a name that is like none', ['colour'], [/\{colour\}$/]],
])('%s', (_name, names, notes) => {
  expect(placeNotes(template, names)).toEqual(notes.map((note) => expect.stringMatching(note)));
});
