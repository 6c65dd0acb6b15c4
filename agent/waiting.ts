// Node turns a longer timer into one of 1 ms.
const LONGEST_TIMER_MS = 2_147_483_647;

/** Resolves after `ms`, or at once when `signal` is or becomes aborted; it never rejects. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  let leftMs = ms;
  while (leftMs > 0 && !signal.aborted) {
    await timer(Math.min(leftMs, LONGEST_TIMER_MS), signal);
    leftMs -= LONGEST_TIMER_MS;
  }
}

function timer(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timeout);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timeout = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** What `promise` gives, or `undefined` as soon as `signal` is aborted; the promise is left to itself then. */
export function unlessAborted<Value>(
  promise: Promise<Value>,
  signal: AbortSignal,
): Promise<Value | undefined> {
  return new Promise((resolve, reject) => {
    const abort = () => resolve(undefined);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
