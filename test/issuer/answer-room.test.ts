import { expect, test } from 'vitest';
import { answerRoom } from '../../issuer/coap/answer-room.ts';

test('answers stand beside each other, many in one piece of memory, and none in the place of another', () => {
  const roomFor = answerRoom();
  const sizes = Array.from({ length: 1000 }, (_, n) => (n * 37) % 1281);
  const answers = sizes.map((size, n) => roomFor(size).fill(n % 256));
  expect(answers.map(({ length }) => length)).toEqual(sizes);
  for (const [n, answer] of answers.entries()) expect(answer.every((byte) => byte === n % 256)).toBe(true);
  const pieces = new Set(answers.map(({ buffer }) => buffer));
  const bytes = Array.from(pieces, ({ byteLength }) => byteLength);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  expect(bytes.reduce((sum, length) => sum + length, 0)).toBeLessThan(total * 1.2);
  expect(pieces.size).toBeLessThan(20);
});
