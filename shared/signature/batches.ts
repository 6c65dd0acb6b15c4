import type { KeyObject } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SigningAlgorithm } from '../token.ts';
import { doJob, type SignatureJob, type SignatureOutcome } from './job.ts';
import type { JwsAlgorithm } from './jws.ts';

export interface Signatures {
  /** The signature of a JWS, base64url; `input` is header and claims, joined by a dot. Rejects when the key cannot sign. */
  sign(algorithm: SigningAlgorithm, key: KeyObject, input: string): Promise<string>;
  /** Whether the key, which is of the kind the algorithm wants, made the signature. Never rejects. */
  verify(algorithm: JwsAlgorithm, key: KeyObject, input: string, signature: string): Promise<boolean>;
}

/** Jobs in one message to the thread: a message costs what one or two of them do in it, and the thread begins early. */
const CHUNK = 8;

/** So few signatures of one turn of the event loop are made at once: waking the thread takes as long. */
const MAX_AT_ONCE = 2;

/** MiB of the thread's heap. It holds a few kilobytes at a time. */
const THREAD_HEAP = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 32 };

interface Waiting {
  readonly job: SignatureJob;
  readonly settle: (outcome: SignatureOutcome) => void;
}

/**
 * Makes and checks signatures, many at once in a thread beside the event loop. node:crypto's own thread pool is woken
 * for each of them, which costs the event loop as much as the signature.
 * @param threadUrl of `thread.ts`
 */
export function createSignatures(threadUrl: URL = threadBeside(import.meta.url)): Signatures {
  let waiting: Waiting[] = [];
  let thread: Thread | undefined;

  function flush(): void {
    if (waiting.length === 0) return;
    const isIdle = thread?.isIdle() ?? true;
    if (isIdle && waiting.length <= MAX_AT_ONCE && waiting.every(({ job }) => isQuick(job))) doNow();
    // While it is at work more may come, and leave together when it answers.
    else if (isIdle) send();
  }

  function send(): void {
    thread ??= startThread(threadUrl, () => {
      if (waiting.length > 0) send();
    });
    if (thread.isReady()) thread.send(taken());
    else doNow();
  }

  function doNow(): void {
    for (const { job, settle } of taken()) settle(doJob(job));
  }

  function taken(): readonly Waiting[] {
    const jobs = waiting;
    waiting = [];
    return jobs;
  }

  function run(job: SignatureJob): Promise<string | boolean> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: SignatureOutcome) =>
        'error' in outcome ? reject(new Error(outcome.error)) : resolve(outcome.value);
      const count = waiting.push({ job, settle });
      if (count === 1) setImmediate(flush);
      if (count === CHUNK) send();
    });
  }

  return {
    sign: (algorithm, key, input) => run({ algorithm, key, input }) as Promise<string>,
    verify: (algorithm, key, input, signature) =>
      run({ algorithm, key, input, signature }) as Promise<boolean>,
  };
}

/** Not what strangers send to be checked, nor a signature by RSA, which takes a millisecond. */
const isQuick = (job: SignatureJob) => !('signature' in job) && job.algorithm !== 'RS256';

interface Thread {
  /** Whether it takes jobs: not while it starts, nor after it has ended. */
  isReady(): boolean;
  isIdle(): boolean;
  send(jobs: readonly Waiting[]): void;
}

/** @param onAnswer called when it has answered, and when it has ended */
function startThread(url: URL, onAnswer: () => void): Thread {
  const sent: (readonly Waiting[])[] = [];
  let worker: Worker | undefined;
  let isOnline = false;

  /** What it was given is done here, and it is given no more. */
  function giveUp(): void {
    worker = undefined;
    for (const jobs of sent.splice(0)) for (const { job, settle } of jobs) settle(doJob(job));
    onAnswer();
  }

  // On one processor a second thread gains nothing.
  if (availableParallelism() > 1) {
    try {
      worker = new Worker(url, { name: 'signatures', resourceLimits: THREAD_HEAP });
      worker.on('online', () => {
        isOnline = true;
      });
      worker.on('message', (outcomes: readonly SignatureOutcome[]) => {
        const jobs = sent.shift() ?? [];
        if (sent.length === 0) worker?.unref();
        for (const [index, { settle }] of jobs.entries()) settle(outcomes[index] as SignatureOutcome);
        onAnswer();
      });
      worker.on('error', giveUp);
      worker.on('exit', giveUp);
      // It keeps no process alive that has nothing else to do.
      worker.unref();
    } catch {
      // Node may be run without the right to start threads.
      worker = undefined;
    }
  }

  return {
    isReady: () => worker !== undefined && isOnline,
    isIdle: () => sent.length === 0,
    send(jobs) {
      if (sent.push(jobs) === 1) worker?.ref();
      worker?.postMessage(jobs.map(({ job }) => job));
    },
  };
}

/** As source it is a .ts file, as published a .js file. */
function threadBeside(module: string): URL {
  return new URL(`./thread${module.slice(module.lastIndexOf('.'))}`, module);
}

/** Those of this process. */
export const signatures: Signatures = createSignatures();
