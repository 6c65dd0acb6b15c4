import { covers } from '@fleetgate/shared';
import type { Witness } from './witnesses.ts';

/** Topics that a filter matches and none of `except` does. */
export interface Region {
  readonly filter: string;
  readonly except: readonly string[];
  /** Topics of it. */
  readonly examples: readonly string[];
}

/** Examples of one region. */
export const MAX_EXAMPLES = 3;

/**
 * The topics of which some are witnesses, as regions of these filters: together they hold those topics and no other.
 * `others` are the witnesses of all other topics.
 */
export function regionsOf(
  filters: readonly string[],
  ones: readonly Witness[],
  others: readonly Witness[],
): Region[] {
  const regions: Region[] = [];
  let left = [...ones];
  while (left.length > 0) {
    const region = widestRegion(filters, left, ones, others) ?? exactRegion(filters, left, ones, others);
    regions.push(region.region);
    left = left.filter((one) => !region.holds(one));
  }
  return regions;
}

interface Held {
  readonly region: Region;
  holds(witness: Witness): boolean;
}

/** The filter that holds most of what is left, without those that hold nothing but others. */
function widestRegion(
  filters: readonly string[],
  left: readonly Witness[],
  ones: readonly Witness[],
  others: readonly Witness[],
): Held | undefined {
  const counts = new Map<number, number>();
  for (const { matched } of left) for (const at of matched) counts.set(at, (counts.get(at) ?? 0) + 1);
  const widest = Array.from(counts).sort(
    ([a, m], [b, n]) => n - m || (covers(filters[a] ?? '', filters[b] ?? '') ? -1 : 1),
  );
  // Others are few: a region is for people, and what none of them gives is told exactly.
  for (const [at] of widest.slice(0, 8)) {
    const taken = new Set(
      ones.filter(({ matched }) => matched.includes(at)).flatMap(({ matched }) => matched),
    );
    const except = new Set<number>();
    const isFree = others.every(({ matched }) => {
      if (!matched.includes(at) || matched.some((one) => except.has(one))) return true;
      const out = matched.find((one) => !taken.has(one));
      if (out !== undefined) except.add(out);
      return out !== undefined;
    });
    if (isFree) return held(filters, [at], except, left);
  }
  return undefined;
}

function exactRegion(
  filters: readonly string[],
  left: readonly Witness[],
  ones: readonly Witness[],
  others: readonly Witness[],
): Held {
  const { matched } = left[0] as Witness;
  const more = [...ones, ...others].filter((one) => matched.every((at) => one.matched.includes(at)));
  const except = new Set(more.flatMap((one) => one.matched.filter((at) => !matched.includes(at))));
  return held(filters, matched, except, left);
}

function held(
  filters: readonly string[],
  within: readonly number[],
  except: ReadonlySet<number>,
  left: readonly Witness[],
): Held {
  const holds = ({ matched }: Witness) =>
    within.every((at) => matched.includes(at)) && !matched.some((at) => except.has(at));
  const name = (at: number) => filters[at] as string;
  const examples = left.filter(holds).slice(0, MAX_EXAMPLES);
  return {
    holds,
    region: {
      filter: within.map(name).reduce(meet),
      except: broadest(Array.from(except, name)),
      examples: examples.map(({ topic }) => topic),
    },
  };
}

/** The filter that matches what both match. There is such a topic. */
export function meet(one: string, other: string): string {
  const [ones, others] = [one.split('/'), other.split('/')];
  const levels: string[] = [];
  for (let at = 0; ; at += 1) {
    const [a, b] = [ones[at], others[at]];
    // `a/#` also matches `a`, so nothing need follow.
    if (a === '#') return [...levels, ...others.slice(at)].join('/');
    if (b === '#') return [...levels, ...ones.slice(at)].join('/');
    if (a === undefined || b === undefined) return levels.join('/');
    levels.push(a === '+' ? b : a);
  }
}

/** Without those that another one covers. */
export function broadest(filters: readonly string[]): string[] {
  return filters.filter(
    (filter, at) =>
      !filters.some((other, i) => i !== at && covers(other, filter) && (i < at || !covers(filter, other))),
  );
}
