import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { ruleDifference } from '../../../cli/policy/rule-difference.ts';

const difference = (before: string, after: string) =>
  ruleDifference(parsePolicy(`version: 1\n${before}\n`, 'a'), parsePolicy(`version: 1\n${after}\n`, 'b')).map(
    ({ change, scope = 'deny', action, filter, before: was, after: is }) =>
      [change, scope, action, filter, was, is].join('|'),
  );

test('rules are told by scope, action and filter, in whatever order they stand', () => {
  expect(
    difference(
      'scopes: { a: { publish: [ x, y ] }, b: { subscribe: [ z ] } }',
      'scopes: { b: { subscribe: [ z ] }, a: { publish: [ { topic: y, max_qos: 2 }, x ] } }',
    ),
  ).toEqual([]);
  expect(
    difference(
      'scopes: { a: { publish: [ x ] }, b: { publish: [ z ] } }',
      'scopes: { a: { subscribe: [ x ], publish: [ y ] }, b: { publish: [ z ] } }',
    ).sort(),
  ).toEqual(['added|a|publish|y||', 'added|a|subscribe|x||', 'removed|a|publish|x||']);
});

test('an option that differs is a change, and its defaults are no option', () => {
  expect(
    difference(
      'scopes: { a: { publish: [ { topic: x, max_qos: 1 } ], subscribe: [ w ] } }',
      'scopes: { a: { publish: [ { topic: x, retain: false, max_messages_per_second: 5 } ], subscribe: [ { topic: w, broader: exact } ] } }',
    ),
  ).toEqual([
    'changed|a|publish|x|max_qos: 1|retain: false, max_messages_per_second: 5, burst: 5',
    'changed|a|subscribe|w||broader: exact',
  ]);
});

test('of rules with one filter each is told by itself', () => {
  expect(
    difference(
      'scopes: { a: { publish: [ x, { topic: x, max_qos: 1 } ] } }',
      'scopes: { a: { publish: [ x, { topic: x, max_qos: 0 }, x ] } }',
    ),
  ).toEqual(['changed|a|publish|x|max_qos: 1|max_qos: 0', 'added|a|publish|x||']);
});

test('denies, what lifts them, and scopes without rules count too', () => {
  expect(
    difference(
      'scopes: { a: {}, b: {} }\ndeny: [ { publish: [ x ], unless: [ b, a ] }, { subscribe: [ y ] } ]',
      'scopes: { a: {}, c: {} }\ndeny: [ { publish: [ x ], unless: [ a, b ] }, { subscribe: [ y ], unless: [ a ] } ]',
    ).sort(),
  ).toEqual(['added|c|scope|||', 'changed|deny|subscribe|y||unless: a', 'removed|b|scope|||']);
});
