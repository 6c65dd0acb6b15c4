import { SingleBar } from 'cli-progress';

/** Shows how far long work is. */
export interface Progress {
  update(done: number, failed?: number): void;
  stop(): void;
}

/** Between two lines where there is no terminal. */
const LINE_INTERVAL_MS = 5000;

export interface ProgressOptions {
  /** What is done, as `devices`. */
  readonly what: string;
  readonly total: number;
  /** Of these already done before. Default: 0. */
  readonly done?: number;
  readonly stream?: NodeJS.WriteStream;
  readonly monotonicMs?: () => number;
}

/** A bar with rate and remaining time on a terminal; elsewhere a line every few seconds, which a log can keep. */
export function showProgress({
  what,
  total,
  done = 0,
  stream = process.stderr,
  monotonicMs = () => performance.now(),
}: ProgressOptions): Progress {
  const beginMs = monotonicMs();
  const rateOf = (now: number) => Math.round(((now - done) * 1000) / Math.max(1, monotonicMs() - beginMs));
  return stream.isTTY ? bar() : lines();

  function bar(): Progress {
    const shown = new SingleBar({
      format: `{bar} {percentage} %  {value}/{total} ${what}  {rate}/s  {left}{failures}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      stream,
      hideCursor: true,
      fps: 8,
    });
    const payload = (now: number, failed: number) => ({
      rate: rateOf(now),
      left: remaining(total - now, rateOf(now)),
      failures: failed === 0 ? '' : `  ${failed} failed`,
    });
    shown.start(total, done, payload(done, 0));
    return {
      update: (now, failed = 0) => shown.update(now, payload(now, failed)),
      stop: () => shown.stop(),
    };
  }

  function lines(): Progress {
    let lastMs = monotonicMs();
    return {
      update(now, failed = 0) {
        if (now < total && monotonicMs() - lastMs < LINE_INTERVAL_MS) return;
        lastMs = monotonicMs();
        const rate = rateOf(now);
        const left = now < total ? `, ${remaining(total - now, rate)} left` : '';
        const failures = failed === 0 ? '' : `, ${failed} failed`;
        stream.write(`${now} of ${total} ${what}${failures} (${rate}/s${left})\n`);
      },
      stop() {},
    };
  }
}

function remaining(left: number, rate: number): string {
  if (rate === 0) return '-';
  const seconds = Math.ceil(left / rate);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
