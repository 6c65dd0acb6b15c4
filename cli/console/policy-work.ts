import { Worker } from 'node:worker_threads';
import type { PolicyJob, PolicyOutcome } from './policy-thread.ts';

/** Longest time for one question. Policies that meet in many ways take minutes, and a person does not wait for them. */
const DEADLINE_MS = 10_000;

/** Without a question for so long the thread ends. */
const IDLE_MS = 60_000;

/** Questions that wait behind the one at work. */
const MAX_WAITING = 4;

/** MiB of the thread's heap: 20,000 clients and two policies are some tens. */
const THREAD_HEAP = { maxOldGenerationSizeMb: 256 };

export interface PolicyWork {
  /** One at a time, in order. Rejects only for a job that cannot be sent to a thread. */
  ask(job: PolicyJob): Promise<PolicyOutcome>;
  close(): void;
}

export interface PolicyWorkOptions {
  /** Default: 10 s. */
  readonly deadlineMs?: number;
  /** Of `policy-thread.ts`. */
  readonly threadUrl?: URL;
}

/**
 * A thread that decides for many clients and compares policies: the event loop is the broker's. It is started for the first
 * question, and one that takes too long is ended with it.
 */
export function createPolicyWork({
  deadlineMs = DEADLINE_MS,
  threadUrl = threadBeside(import.meta.url),
}: PolicyWorkOptions = {}): PolicyWork {
  let thread: Worker | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  let idle: NodeJS.Timeout | undefined;

  function end(): void {
    clearTimeout(idle);
    void thread?.terminate();
    thread = undefined;
  }

  function start(): Worker {
    const worker = startThread(threadUrl);
    thread = worker;
    worker.once('exit', () => {
      if (thread === worker) thread = undefined;
    });
    return worker;
  }

  function run(job: PolicyJob): Promise<PolicyOutcome> {
    clearTimeout(idle);
    return new Promise((resolve) => {
      const worker = thread ?? start();
      const giveUp = (outcome: PolicyOutcome) => {
        end();
        settle(outcome);
      };
      const settle = (outcome: PolicyOutcome) => {
        clearTimeout(timer);
        worker.off('message', take).off('error', fail).off('exit', leave);
        resolve(outcome);
      };
      const take = (outcome: PolicyOutcome) => {
        idle = setTimeout(end, IDLE_MS);
        idle.unref();
        settle(outcome);
      };
      const fail = ({ code }: NodeJS.ErrnoException) =>
        giveUp(code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooLong(deadlineMs) : failed);
      const leave = () => giveUp(failed);
      worker.postMessage(job);
      const timer = setTimeout(() => giveUp(tooLong(deadlineMs)), deadlineMs);
      worker.on('message', take).on('error', fail).on('exit', leave);
    });
  }

  return {
    async ask(job) {
      if (waiting > MAX_WAITING) return busy;
      waiting += 1;
      const turn = last.then(() => run(job));
      last = turn.catch(() => {});
      try {
        return await turn;
      } finally {
        waiting -= 1;
      }
    },
    close: end,
  };
}

function startThread(url: URL): Worker {
  // As a source it imports sources; what else the process was started with holds in it by itself.
  const conditions = url.pathname.endsWith('.ts') ? ['--conditions=@fleetgate/source'] : [];
  const worker = new Worker(url, { name: 'policies', execArgv: conditions, resourceLimits: THREAD_HEAP });
  // What one that is ended still says is of no use to anybody.
  worker.on('error', () => {});
  worker.unref();
  return worker;
}

const tooLong = (deadlineMs: number): PolicyOutcome => ({
  code: 'too_much_work',
  words: `this is more work than ${deadlineMs / 1000} s and 256 MiB here; narrow the selector, or run 'fleetgate policy' on another machine`,
});
const failed: PolicyOutcome = Object.freeze({ code: 'internal_error', words: 'this failed; ask again' });
const busy: PolicyOutcome = Object.freeze({
  code: 'busy',
  words: 'others are being answered; ask again in a few seconds',
});

/** As source it is a .ts file, as published a .js file. */
function threadBeside(module: string): URL {
  return new URL(`./policy-thread${module.slice(module.lastIndexOf('.'))}`, module);
}
