/** Does it now and then again; never twice at once. What it gives back ends that and waits for the last one. */
export function repeat(intervalMs: number, act: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  const run = () => {
    running ??= act().finally(() => {
      running = undefined;
    });
  };
  const timer = setInterval(run, intervalMs).unref();
  run();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
