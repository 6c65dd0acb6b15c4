import { FleetgateError } from '@fleetgate/shared';

/** A topic that stands for all that the same filters match. */
export interface Witness {
  readonly topic: string;
  /** Which of the filters match it, by their place. */
  readonly matched: readonly number[];
}

/** Ours: a thousand filters of a real policy make some ten thousand. */
const MAX_STATES = 200_000;

/** Where each filter is that can still match: its place, and how many levels of it are behind. */
type State = readonly (readonly [filter: number, level: number])[];

/**
 * A topic for each set of these filters that some topic is matched by: whatever is true of all of these is true of every
 * topic there is, as far as only these filters decide. Not among them is a topic that none matches.
 * @throws FleetgateError `not_supported` where the filters meet in too many ways
 */
export function witnesses(filters: readonly string[]): Witness[] {
  const levels = filters.map((filter) => filter.split('/'));
  const fresh = freshWord(levels.flat());
  const found = new Map<string, Witness>();
  const seen = new Set<string>();
  let front: { state: State; path: readonly string[] }[] = [
    { state: levels.map((_, i) => [i, 0] as const), path: [] },
  ];
  while (front.length > 0) {
    const next: typeof front = [];
    for (const { state, path } of front) {
      const words = new Set([fresh, ...state.flatMap(([filter, at]) => literalAt(levels[filter], at))]);
      for (const word of words) {
        const after = step(levels, state, word, path.length === 0);
        if (after.length === 0) continue;
        const here = [...path, word];
        note(found, here.join('/'), endings(levels, after));
        const key = after.map(([filter, at]) => `${filter}.${at}`).join(' ');
        if (seen.has(key)) continue;
        seen.add(key);
        if (seen.size > MAX_STATES) throw tooManyWays();
        next.push({ state: after, path: here });
      }
    }
    front = next;
  }
  return Array.from(found.values());
}

function note(found: Map<string, Witness>, topic: string, matched: readonly number[]): void {
  const key = matched.join(' ');
  // A topic has at least one character [MQTT-4.7.3-1].
  if (matched.length > 0 && topic !== '' && !found.has(key)) found.set(key, { topic, matched });
}

function literalAt(levels: readonly string[] | undefined, at: number): string[] {
  const level = levels?.[at];
  return level === undefined || level === '+' || level === '#' ? [] : [level];
}

function step(levels: readonly (readonly string[])[], state: State, word: string, isFirst: boolean): State {
  // [MQTT-4.7.2-1]
  const isHidden = isFirst && word.startsWith('$');
  return state.flatMap(([filter, at]) => {
    const level = levels[filter]?.[at];
    if (level === '#') return isHidden ? [] : [[filter, at] as const];
    if (level === word || (level === '+' && !isHidden)) return [[filter, at + 1] as const];
    return [];
  });
}

/** Those that match a topic that ends here: `a/#` also matches `a`. */
function endings(levels: readonly (readonly string[])[], state: State): number[] {
  return state
    .filter(([filter, at]) => at === levels[filter]?.length || levels[filter]?.[at] === '#')
    .map(([filter]) => filter);
}

/** Nothing is said of what could not be looked at whole. */
export function tooManyWays(): FleetgateError {
  return new FleetgateError('not_supported', 'the filters meet in too many ways to look at each of them');
}

/** A level that no filter names. */
export function freshWord(taken: readonly string[]): string {
  const words = new Set(taken);
  for (let i = 0; ; i += 1) {
    const word = i === 0 ? 'x' : `x${i}`;
    if (!words.has(word)) return word;
  }
}
