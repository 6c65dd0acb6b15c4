import { expect, test } from 'vitest';
import { parseSelector } from '../../../issuer/fleet/selector.ts';

const label = (name: string) => ({ label: name });

test.each([
  ['group=plant-7', [{ subject: 'group', operator: 'in', values: ['plant-7'] }]],
  ['group==plant-7', [{ subject: 'group', operator: 'in', values: ['plant-7'] }]],
  ['client_id==press-*', [{ subject: 'client_id', operator: 'prefix', values: ['press-'] }]],
  ['note in (a*)', [{ subject: label('note'), operator: 'in', values: ['a*'] }]],
  ['hw != rev-a', [{ subject: label('hw'), operator: 'not_in', values: ['rev-a'] }]],
  ['hw in (a, b)', [{ subject: label('hw'), operator: 'in', values: ['a', 'b'] }]],
  ['hw notin (a)', [{ subject: label('hw'), operator: 'not_in', values: ['a'] }]],
  ['spare', [{ subject: label('spare'), operator: 'present', values: [] }]],
  ['!spare', [{ subject: label('spare'), operator: 'absent', values: [] }]],
  ['client_id=press-*', [{ subject: 'client_id', operator: 'prefix', values: ['press-'] }]],
  ['labels.group=x', [{ subject: label('group'), operator: 'in', values: ['x'] }]],
  ['note=two words', [{ subject: label('note'), operator: 'in', values: ['two words'] }]],
  [
    'group=g,hw in (a,b), !retired',
    [
      { subject: 'group', operator: 'in', values: ['g'] },
      { subject: label('hw'), operator: 'in', values: ['a', 'b'] },
      { subject: label('retired'), operator: 'absent', values: [] },
    ],
  ],
])('%s is read', (text, selector) => {
  expect(parseSelector(text)).toEqual(selector);
});

test.each([
  ['', /empty/],
  ['a=1,', /comma/],
  [',a=1', /comma/],
  ['a=1,,b=2', /comma/],
  ['a=', /1 to 256 characters/],
  ['a in ()', /1 to 256 characters/],
  ['a b', /no condition/],
  ['a in (b', /no condition/],
  ['state=gone', /active or quarantined/],
  ['client_id!=press-*', /not supported/],
  ['client_id=*', /before the \*/],
  ['group=plant-*', /only client_id/],
  ['hw!=rev-*', /only client_id/],
  ['client_id in (press-*)', /a condition alone/],
  ['client_id=press-*-1', /must match/],
  ['a+b=1', /neither a field nor/],
  ['a'.repeat(5000), /4096/],
  [Array.from({ length: 17 }, (_, i) => `a${i}`).join(','), /16 conditions/],
  [`a in (${Array.from({ length: 101 }, (_, i) => i).join(',')})`, /100 values/],
])('%s is refused, saying why', (text, message) => {
  expect(() => parseSelector(text)).toThrow(message);
});
