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
  ['expires<7d', [{ subject: 'expires', operator: 'less', durationMs: 7 * 86_400_000 }]],
  ['expires < 12h', [{ subject: 'expires', operator: 'less', durationMs: 43_200_000 }]],
  ['last_seen>4w', [{ subject: 'last_seen', operator: 'more', durationMs: 28 * 86_400_000 }]],
  ['last_seen<1d', [{ subject: 'last_seen', operator: 'less', durationMs: 86_400_000 }]],
  ['!last_seen', [{ subject: 'last_seen', operator: 'absent', durationMs: 0 }]],
  ['expired', [{ subject: 'expired', operator: 'present', durationMs: 0 }]],
  ['labels.expired', [{ subject: label('expired'), operator: 'present', values: [] }]],
  ['note=a<b', [{ subject: label('note'), operator: 'in', values: ['a<b'] }]],
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
  ['group<7d', /no time; < and > go with expires and last_seen/],
  ['expires>7d', /expires is written expires<7d, expires or !expires/],
  ['expired<7d', /expired is written expired or !expired/],
  ['expires<7', /a duration such as 12h, 7d or 4w/],
  ['last_seen>', /a duration such as/],
  ['last_seen>12h', /known to the day; write it in d or w/],
  ['last_seen=7d', /write last_seen<7d.* or labels\.last_seen for a label/],
  ['expires in (7d)', /labels\.expires/],
  ['last_seen?', /did you mean last_seen/],
  ['a'.repeat(5000), /4096/],
  [Array.from({ length: 17 }, (_, i) => `a${i}`).join(','), /16 conditions/],
  [`a in (${Array.from({ length: 101 }, (_, i) => i).join(',')})`, /100 values/],
])('%s is refused, saying why', (text, message) => {
  expect(() => parseSelector(text)).toThrow(message);
});
