import { refreshDelayMs, retryDelayMs } from '../../agent/refresh-policy.ts';

export interface OutageOptions {
  readonly devices: number;
  readonly lifetimeSeconds: number;
  /** How long no issuer answers. */
  readonly outageSeconds: number;
  /** Tokens a second that the issuers give; who comes beyond them is told 503 with `Retry-After: 1`. */
  readonly tokensPerSecond: number;
  /** Of chance; the same gives the same. */
  readonly seed: number;
}

/** What is seen of it, second by second from the beginning of the outage. */
export interface OutageCourse {
  /** Requests that reach an issuer, or would. */
  readonly requests: readonly number[];
  readonly tokens: readonly number[];
  /** Devices whose token has expired. */
  readonly expired: readonly number[];
  /** Seconds after the outage until no device is without a valid token any more; NaN where that was not seen. */
  readonly recoveredAfterSeconds: number;
}

/** Seconds that are looked at after the outage. */
const AFTER_SECONDS = 3600;

/**
 * A fleet through an outage of the issuers, by the agent's own formulas for when to refresh and to try again. Each
 * device has a token of its own age when it begins.
 */
export function simulateOutage(options: OutageOptions): OutageCourse {
  const { devices, lifetimeSeconds, outageSeconds, tokensPerSecond } = options;
  const random = seeded(options.seed);
  const seconds = outageSeconds + AFTER_SECONDS;
  const due: number[][] = Array.from({ length: seconds + 1 }, () => []);
  const failures = new Uint8Array(devices);
  const expiresAt = new Float64Array(devices);
  const refreshIn = () => refreshDelayMs(lifetimeSeconds * 1000, random) / 1000;
  const ask = (device: number, atSeconds: number) => {
    const second = Math.ceil(atSeconds);
    if (second <= seconds) due[second]?.push(device);
  };

  for (let device = 0; device < devices; device += 1) {
    const refreshSeconds = refreshIn();
    const age = random() * refreshSeconds;
    expiresAt[device] = lifetimeSeconds - age;
    ask(device, refreshSeconds - age);
  }

  const course = { requests: [] as number[], tokens: [] as number[], expired: [] as number[] };
  let lastExpired = -1;
  for (let second = 0; second < seconds; second += 1) {
    const asking = due[second] ?? [];
    const isAway = second < outageSeconds;
    const served = isAway ? 0 : Math.min(tokensPerSecond, asking.length);
    for (const [i, device] of asking.entries()) {
      if (i < served) {
        failures[device] = 0;
        expiresAt[device] = second + lifetimeSeconds;
        ask(device, second + refreshIn());
        continue;
      }
      const failure = { kind: 'transient', attempt: failures[device] ?? 0 } as const;
      const waitMs = retryDelayMs(isAway ? failure : { ...failure, retryAfterMs: 1000 }, random);
      failures[device] = Math.min(30, failure.attempt + 1);
      ask(device, second + Math.max(1, waitMs / 1000));
    }
    due[second] = [];
    const expired = expiresAt.reduce((count, at) => count + (at <= second ? 1 : 0), 0);
    course.requests.push(asking.length);
    course.tokens.push(served);
    course.expired.push(expired);
    if (expired > 0) lastExpired = second;
  }
  const isOver = lastExpired < seconds - 1;
  return {
    ...course,
    recoveredAfterSeconds: isOver ? Math.max(0, lastExpired + 1 - outageSeconds) : Number.NaN,
  };
}

/** Numbers in [0, 1) by a linear congruence of 32 bits: a plot is drawn again as it was. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Of each span, the mean: what is drawn. */
const means = (values: readonly number[], span: number) =>
  Array.from({ length: Math.floor(values.length / span) }, (_, i) =>
    Math.round(values.slice(i * span, (i + 1) * span).reduce((sum, one) => sum + one, 0) / span),
  );

export interface Plot extends OutageOptions {
  /** Seconds of one point. */
  readonly spanSeconds: number;
  readonly untilSeconds: number;
  /** Devices that each simulated one stands for. */
  readonly standsFor: number;
}

/** Requests and tokens a second as a Mermaid chart, which is text and is drawn where Markdown is shown. */
export function plotOutage(plot: Plot): string {
  const { requests, tokens } = simulateOutage(plot);
  const line = (values: readonly number[]) =>
    means(values.slice(0, plot.untilSeconds), plot.spanSeconds)
      .map((value) => value * plot.standsFor)
      .join(', ');
  return [
    '```mermaid',
    'xychart-beta',
    `  title "Requests and tokens a second: ${plot.outageSeconds / 60} minutes without an issuer"`,
    `  x-axis "minutes" 0 --> ${plot.untilSeconds / 60}`,
    '  y-axis "per second"',
    `  line [${line(requests)}]`,
    `  line [${line(tokens)}]`,
    '```',
  ].join('\n');
}

/** Devices that each simulated one of docs/scaling.md stands for: ten million in all. */
const STANDS_FOR = 500;

/** A fleet of ten million devices. */
export const tenMillion = ({
  tokensPerSecond,
  ...more
}: Pick<OutageOptions, 'lifetimeSeconds' | 'outageSeconds' | 'tokensPerSecond'>) => ({
  ...more,
  devices: 10_000_000 / STANDS_FOR,
  tokensPerSecond: tokensPerSecond / STANDS_FOR,
  standsFor: STANDS_FOR,
  seed: 1,
});

/** The outages of the table in docs/scaling.md. */
export const outages = [
  { lifetimeSeconds: 3600, outageSeconds: 600, tokensPerSecond: 5500 },
  { lifetimeSeconds: 3600, outageSeconds: 600, tokensPerSecond: 11_000 },
  { lifetimeSeconds: 3600, outageSeconds: 3600, tokensPerSecond: 11_000 },
  { lifetimeSeconds: 86_400, outageSeconds: 3600, tokensPerSecond: 500 },
];

/** The one that is drawn there. */
export const drawn: Plot = {
  ...tenMillion({ lifetimeSeconds: 3600, outageSeconds: 600, tokensPerSecond: 11_000 }),
  spanSeconds: 60,
  untilSeconds: 2400,
};

/** A row of the table for each outage. */
export function outageTable(): string[] {
  return outages.map((outage) => {
    const { requests, expired, recoveredAfterSeconds } = simulateOutage(tenMillion(outage));
    const count = (value: number) => Math.round(value).toLocaleString('en');
    const rest = 10_000_000 / (outage.lifetimeSeconds * 0.75);
    const cells = [
      `${outage.lifetimeSeconds / 3600} h`,
      `${outage.outageSeconds / 60} min`,
      count(rest),
      count(outage.tokensPerSecond),
      count(Math.max(...requests) * STANDS_FOR),
      `${((Math.max(...expired) / (10_000_000 / STANDS_FOR)) * 100).toFixed(1)} %`,
      Number.isNaN(recoveredAfterSeconds) ? 'over 60 min' : `${Math.ceil(recoveredAfterSeconds / 60)} min`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
}
