import {
  covers,
  isTopicFilter,
  isTopicName,
  MAX_TOPIC_BYTES,
  MAX_TOPIC_LEVELS,
  matches,
  overlaps,
} from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allFilters, allTopics, modelCovers, modelMatches, modelOverlaps } from './topic-model.ts';

const filter = fc.constantFrom(...allFilters);
const topic = fc.constantFrom(...allTopics);
const numRuns = 5000;

describe('what a topic name and a topic filter may be', () => {
  test.each([
    ['[MQTT-4.7.3-1] not empty', '', false, false],
    ['§4.7.3 spaces are allowed', 'a b', true, true],
    ['§4.7.1.1 empty levels are levels', '//', true, true],
    ['[MQTT-3.3.2-2] a name holds no +', 'a/+', false, true],
    ['[MQTT-3.3.2-2] a name holds no #', 'a/#', false, true],
    ['[MQTT-4.7.1-2] # alone', '#', false, true],
    ['[MQTT-4.7.1-2] # after a level’s text', 'a#', false, false],
    ['[MQTT-4.7.1-2] # before the end', 'a/#/b', false, false],
    ['[MQTT-4.7.1-2] # before a last slash', '#/', false, false],
    ['[MQTT-4.7.1-3] + alone', '+', false, true],
    ['[MQTT-4.7.1-3] + after a level’s text', 'a+', false, false],
    ['[MQTT-4.7.1-3] + before a level’s text', '+a', false, false],
    ['[MQTT-4.7.1-3] two + in a level', '++', false, false],
    ['[MQTT-4.7.1-3] + with #', '+/a/+/#', false, true],
    ['[MQTT-4.7.3-2] no NUL', 'a\0', false, false],
    ['[MQTT-1.5.3-1] no lone high surrogate', 'a\ud800', false, false],
    ['[MQTT-1.5.3-1] no lone low surrogate', '\udc00a', false, false],
    ['[MQTT-1.5.3-1] a pair is a character', '\u{1f600}', true, true],
    ['§1.5.3 no C0 control', 'a\u001f', false, false],
    ['§1.5.3 no C1 control', 'a\u009f', false, false],
    ['§1.5.3 no noncharacter U+FDD0', '\ufdd0', false, false],
    ['§1.5.3 no noncharacter U+FFFF', '\uffff', false, false],
    ['§1.5.3 no noncharacter U+1FFFE', '\u{1fffe}', false, false],
    ['[MQTT-1.5.3-3] U+FEFF is a character', '\ufeff', true, true],
    ['[MQTT-4.7.3-3] 65,535 bytes', 'a'.repeat(MAX_TOPIC_BYTES), true, true],
    ['[MQTT-4.7.3-3] 65,536 bytes', 'a'.repeat(MAX_TOPIC_BYTES + 1), false, false],
    ['[MQTT-4.7.3-3] bytes are counted, not characters', 'é'.repeat(MAX_TOPIC_BYTES / 2 + 1), false, false],
    ['as many levels as the limit', '/'.repeat(MAX_TOPIC_LEVELS - 1), true, true],
    ['one level more than the limit', '/'.repeat(MAX_TOPIC_LEVELS), false, false],
  ])('%s', (_rule, text, name, asFilter) => {
    expect([isTopicName(text), isTopicFilter(text)]).toEqual([name, asFilter]);
  });
});

describe('agreement with a model that tries every topic', () => {
  test('a filter matches what the model says', () => {
    fc.assert(
      fc.property(filter, topic, (f, t) => {
        expect(matches(f, t)).toBe(modelMatches(f, t));
      }),
      { numRuns },
    );
  });

  test('a filter covers another exactly when it matches every topic the other matches', () => {
    fc.assert(
      fc.property(filter, filter, (a, b) => {
        expect(covers(a, b)).toBe(modelCovers(a, b));
      }),
      { numRuns },
    );
  });

  test('two filters overlap exactly when some topic is matched by both', () => {
    fc.assert(
      fc.property(filter, filter, (a, b) => {
        expect(overlaps(a, b)).toBe(modelOverlaps(a, b));
      }),
      { numRuns },
    );
  });

  test('the empty topic makes no filters overlap, and is nothing to be covered', () => {
    expect([overlaps('/#', '+'), overlaps('+', '/#'), covers('+/+/#', '/#')]).toEqual([false, false, true]);
  });
});

test('a filter that ends in /# matches its parent level', () => {
  expect(matches('a/#', 'a')).toBe(true);
});

test.each(['#', '+', '+/#', '+/a'])('[MQTT-4.7.2-1] %s matches no topic that begins with $', (wildcard) => {
  expect(allTopics.filter((t) => t.startsWith('$') && matches(wildcard, t))).toEqual([]);
});
