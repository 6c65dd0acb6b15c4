/** Something to be done at a moment, unless cancelled before. */
export interface Deadline {
  readonly atMs: number;
}

export interface Deadlines {
  /** Calls `due` with `subject` once, at `atMs` on this structure's clock or a little later. */
  add<Subject>(atMs: number, due: (subject: Subject) => void, subject: Subject): Deadline;
  /** Of one that was met, or cancelled before, nothing. */
  cancel(deadline: Deadline | undefined): void;
  /** How many are waiting. */
  readonly size: number;
  /** Cancels all. */
  close(): void;
}

export interface DeadlinesOptions {
  /** Milliseconds; 1970 or any other origin. */
  readonly now: () => number;
  readonly setTimer?: (callback: () => void, delayMs: number) => NodeJS.Timeout;
  readonly clearTimer?: (timer: NodeJS.Timeout) => void;
  /** Gets what a `due` throws; the others are met all the same. */
  readonly onError: (error: unknown) => void;
}

/**
 * Longest sleep. The clock of sessions may be set forward, and a session should not outlive its token by more than a
 * second then; far below 2^31-1 ms too, beyond which Node's timers fire at once.
 */
const MAX_SLEEP_MS = 1_000;

/** Deadlines met in one go; the rest waits a turn of the event loop, so that ten thousand at once do not stop it. */
const MAX_DUE_PER_TURN = 200;

// Of each connection there are some: no closure in them.
interface Entry extends Deadline {
  readonly due: (subject: unknown) => void;
  readonly subject: unknown;
  /** Place in the heap, -1 when no longer in it. */
  index: number;
}

/** One timer for any number of deadlines: a binary heap whose first is the next. */
export function createDeadlines(options: DeadlinesOptions): Deadlines {
  const { now, onError, setTimer = setTimeout, clearTimer = clearTimeout } = options;
  const heap: Entry[] = [];
  let timer: NodeJS.Timeout | undefined;

  function add<Subject>(atMs: number, due: (subject: Subject) => void, subject: Subject): Deadline {
    const entry: Entry = { atMs, due: due as Entry['due'], subject, index: heap.length };
    heap.push(entry);
    rise(heap, entry);
    if (entry.index === 0) arm();
    return entry;
  }

  function cancel(deadline: Deadline | undefined): void {
    const entry = deadline as Entry | undefined;
    if (entry === undefined || entry.index < 0) return;
    remove(heap, entry);
    if (heap.length === 0) disarm();
  }

  function arm(): void {
    disarm();
    const [first] = heap;
    if (first === undefined) return;
    const delayMs = Math.max(0, Math.min(MAX_SLEEP_MS, first.atMs - readClock()));
    timer = setTimer(meet, delayMs);
    timer.unref?.();
  }

  // A clock that throws meets nothing, and is asked again.
  function readClock(): number {
    try {
      return now();
    } catch (error) {
      onError(error);
      return Number.NEGATIVE_INFINITY;
    }
  }

  function disarm(): void {
    if (timer !== undefined) clearTimer(timer);
    timer = undefined;
  }

  function meet(): void {
    timer = undefined;
    const nowMs = readClock();
    for (let met = 0; met < MAX_DUE_PER_TURN; met += 1) {
      const [first] = heap;
      if (first === undefined || first.atMs > nowMs) break;
      remove(heap, first);
      try {
        first.due(first.subject);
      } catch (error) {
        onError(error);
      }
    }
    arm();
  }

  return {
    add,
    cancel,
    get size() {
      return heap.length;
    },
    close() {
      disarm();
      for (const entry of heap) entry.index = -1;
      heap.length = 0;
    },
  };
}

function remove(heap: Entry[], entry: Entry): void {
  const { index } = entry;
  entry.index = -1;
  const last = heap.pop();
  if (last === undefined || last === entry) return;
  place(heap, last, index);
  rise(heap, last);
  sink(heap, last);
}

function rise(heap: Entry[], entry: Entry): void {
  while (entry.index > 0) {
    const parentIndex = (entry.index - 1) >> 1;
    const parent = heap[parentIndex] as Entry;
    if (parent.atMs <= entry.atMs) return;
    place(heap, parent, entry.index);
    place(heap, entry, parentIndex);
  }
}

function sink(heap: Entry[], entry: Entry): void {
  for (;;) {
    const left = heap[2 * entry.index + 1];
    const right = heap[2 * entry.index + 2];
    if (left === undefined) return;
    const child = right !== undefined && right.atMs < left.atMs ? right : left;
    if (entry.atMs <= child.atMs) return;
    const childIndex = child.index;
    place(heap, child, entry.index);
    place(heap, entry, childIndex);
  }
}

function place(heap: Entry[], entry: Entry, index: number): void {
  heap[index] = entry;
  entry.index = index;
}
