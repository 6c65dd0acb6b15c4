import type { UsedAssertion } from '../assertions.ts';
import type { Database } from './database.ts';

/**
 * How long after its end an assertion is remembered. Ours: the clock of another process on this database may be behind
 * by so much, or this one's set back.
 */
const MARGIN_SECONDS = 300;

/** Rows forgotten with each one added: more than one, so that they become fewer after a rush. */
const FORGOTTEN_AT_ONCE = 2;

/** The statements on assertions that were used; each runs at once, in whatever transaction is open. */
export function usedAssertionStatements(database: Database) {
  const insert = database.prepare<[Uint8Array, number]>(
    'INSERT INTO used_assertions (id, forget_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING',
  );
  const forget = database.prepare<[number, number]>(
    'DELETE FROM used_assertions WHERE id IN (SELECT id FROM used_assertions WHERE forget_at < ? ORDER BY forget_at LIMIT ?)',
  );

  // Of this process; where another forgot some since, the next second looks again.
  let forgottenAtSeconds: number | undefined;

  function forgetSome(nowSeconds: number): void {
    if (nowSeconds === forgottenAtSeconds) return;
    const { changes } = forget.run(nowSeconds, FORGOTTEN_AT_ONCE);
    if (changes < FORGOTTEN_AT_ONCE) forgottenAtSeconds = nowSeconds;
  }

  return {
    /** Whether it was not used before. */
    use({ id, expiresAtSeconds }: UsedAssertion, nowSeconds: number): boolean {
      forgetSome(nowSeconds);
      return insert.run(id, expiresAtSeconds + MARGIN_SECONDS).changes > 0;
    },
  };
}
