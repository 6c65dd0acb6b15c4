import type { UsedAssertion } from '../assertions.ts';
import { type Act, sql } from './statement.ts';

/**
 * How long after its end an assertion is remembered. Ours: the clock of another process on this database may be behind
 * by so much, or this one's set back.
 */
const MARGIN_SECONDS = 300;

/** Rows forgotten with each one added: more than one, so that they become fewer after a rush. */
const FORGOTTEN_AT_ONCE = 2;

const insert = sql<[id: Uint8Array, forgetAt: number]>(
  'INSERT INTO used_assertions (id, forget_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING',
);
const forget = sql<[before: number, limit: number]>(
  'DELETE FROM used_assertions WHERE id IN (SELECT id FROM used_assertions WHERE forget_at < ? ORDER BY forget_at LIMIT ?)',
);

export type UsedAssertions = ReturnType<typeof usedAssertions>;

/** The assertions that were used. */
export function usedAssertions() {
  // Of this process; where another forgot some since, the next second looks again.
  let forgottenAtSeconds: number | undefined;

  function* forgetSome(nowSeconds: number): Act<void> {
    if (nowSeconds === forgottenAtSeconds) return;
    if ((yield* forget.run(nowSeconds, FORGOTTEN_AT_ONCE)) < FORGOTTEN_AT_ONCE) {
      forgottenAtSeconds = nowSeconds;
    }
  }

  return {
    /** Of each, whether it was not used before. */
    *use(assertions: readonly UsedAssertion[], nowSeconds: number): Act<boolean[]> {
      yield* forgetSome(nowSeconds);
      const added = yield* insert.runEach(
        assertions.map(({ id, expiresAtSeconds }) => [id, expiresAtSeconds + MARGIN_SECONDS] as const),
      );
      return added.map((changes) => changes > 0);
    },
  };
}
