/** What one query asks for at most. */
const MAX_TOGETHER = 200;

/** Queries that are under way at once. Ours: one more than keeps the connection busy. */
const MAX_UNDER_WAY = 2;

interface Waiting<Asked, Answer> {
  readonly asked: Asked;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/**
 * Asks for what came in within one turn of the event loop, or while queries before were under way, by one query. So who
 * asks for much takes no more connections than who asks for little. `ask` gives an answer for each, in their order.
 */
export function gather<Asked, Answer>(
  ask: (asked: readonly Asked[]) => Promise<readonly Answer[]>,
): (asked: Asked) => Promise<Answer> {
  let waiting: Waiting<Asked, Answer>[] = [];
  let underWay = 0;
  let isDue = false;

  function flush(): void {
    isDue = false;
    while (waiting.length > 0 && underWay < MAX_UNDER_WAY) {
      const some = waiting.slice(0, MAX_TOGETHER);
      waiting = waiting.slice(MAX_TOGETHER);
      underWay += 1;
      void askTogether(some);
    }
  }

  async function askTogether(some: readonly Waiting<Asked, Answer>[]): Promise<void> {
    try {
      const answers = await ask(some.map(({ asked }) => asked));
      for (const [i, { resolve }] of some.entries()) resolve(answers[i] as Answer);
    } catch (error) {
      for (const { reject } of some) reject(error);
    }
    underWay -= 1;
    flush();
  }

  return (asked) =>
    new Promise((resolve, reject) => {
      waiting.push({ asked, resolve, reject });
      if (isDue) return;
      isDue = true;
      setImmediate(flush);
    });
}
