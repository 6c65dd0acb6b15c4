import { type Act, sql } from './statement.ts';

const next = sql<[], { next: number }>('SELECT next FROM coap_sequence');
const setNext = sql<[next: number]>('UPDATE coap_sequence SET next = ?');

/** So many sequence numbers; the first of them. */
export function* reserveSequenceNumbers(numbers: number, atLeast: number): Act<number> {
  const first = Math.max(atLeast, (yield* next.get())?.next ?? 0);
  yield* setNext.run(first + numbers);
  return first;
}
