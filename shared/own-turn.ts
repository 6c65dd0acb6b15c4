let last: Promise<void> = Promise.resolve();

/**
 * Waits for a turn of the event loop that nobody else who waits here has. For work that takes milliseconds a part: of many
 * at once each turn does one part, and not one of each before anything else is served.
 */
export function ownTurn(): Promise<void> {
  last = last.then(() => new Promise((resolve) => setImmediate(resolve)));
  return last;
}
