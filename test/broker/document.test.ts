import { DocumentError, readDocument } from '@fleetgate/broker';
import { expect, test } from 'vitest';

test.each([
  ['duplicate keys', 'a: hunter2\na: hunter2\n'],
  ['aliases', 'a: &x hunter2\nb: *x\n'],
  ['merge keys', 'a:\n  <<: { b: hunter2 }\n'],
  ['several documents', 'a: hunter2\n---\nb: hunter2\n'],
  ['tags', 'a: !secret hunter2\n'],
  ['an unclosed quote', 'a: "hunter2\n'],
  ['a file that is too large', `a: hunter2${'2'.repeat(300_000)}\n`],
  ['a value of the wrong type', 'hunter2\n'],
])('%s are refused, and no value is quoted', (_rule, text) => {
  let error: unknown;
  try {
    readDocument(text, 'f', { type: 'object' });
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(DocumentError);
  expect(error).toMatchObject({ code: 'config_invalid' });
  expect((error as DocumentError).message).not.toContain('hunter2');
});
