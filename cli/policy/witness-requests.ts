import { freshWord, tooManyWays } from './witnesses.ts';

/** Ours: each is decided several times. */
const MAX_REQUESTS = 50_000;

interface Reading {
  readonly filter: number;
  /** Whether every level so far is one that the filter takes whatever it is: then it may cover the request. */
  readonly takesAll: boolean;
  readonly isSame: boolean;
  /** Whether `#` of it is behind. */
  readonly isOpen: boolean;
}

/**
 * A filter that a client may ask for, for each way in which requests meet these filters: which of them overlap it, cover it
 * and are equal to it. What is decided of a subscribe depends on nothing else of the filter.
 * @throws FleetgateError `not_supported` where the filters meet in too many ways
 */
export function witnessRequests(filters: readonly string[]): string[] {
  const levels = filters.map((filter) => filter.split('/'));
  const fresh = freshWord(levels.flat());
  const found = new Set<string>(filters);
  const seen = new Set<string>();
  let front: { path: string[]; readings: Reading[] }[] = [
    {
      path: [],
      readings: levels.map((_, filter) => ({ filter, takesAll: true, isSame: true, isOpen: false })),
    },
  ];
  found.add('#');
  while (front.length > 0) {
    const next: typeof front = [];
    for (const { path, readings } of front) {
      const at = path.length;
      const words = readings.map(({ filter, isOpen }) => (isOpen ? undefined : levels[filter]?.[at]));
      // The empty level is told apart where it comes first: there is no empty topic [MQTT-4.7.3-1].
      const own = new Set([fresh, '+', ...(at === 0 ? [''] : []), ...words]);
      for (const word of own) {
        if (word === undefined || word === '#') continue;
        const after = readings.flatMap((one) => readOn(one, levels[one.filter] ?? [], at, word));
        if (after.length === 0) continue;
        const here = [...path, word];
        const key = `${here.length === 1 && word === '' ? 'empty ' : ''}${here.length} ${after
          .map(({ filter, takesAll, isSame, isOpen }) => `${filter}${takesAll}${isSame}${isOpen}`)
          .join(' ')}`;
        if (seen.has(key)) continue;
        seen.add(key);
        if (seen.size > MAX_REQUESTS) throw tooManyWays();
        const request = here.join('/');
        if (request !== '') found.add(request);
        found.add(`${request}/#`);
        if (after.some(({ isOpen }) => !isOpen)) next.push({ path: here, readings: after });
      }
    }
    front = next;
  }
  return Array.from(found);
}

function readOn(one: Reading, levels: readonly string[], at: number, word: string): Reading[] {
  if (one.isOpen) return [{ ...one, isSame: false }];
  const level = levels[at];
  if (level === undefined) return [];
  const isFirst = at === 0;
  // [MQTT-4.7.2-1]
  if (isFirst && level.startsWith('$') !== word.startsWith('$')) return [];
  if (level === '#') return [{ ...one, isSame: false, isOpen: true }];
  if (level !== '+' && word !== '+' && level !== word) return [];
  return [
    {
      ...one,
      takesAll: one.takesAll && (level === '+' || level === word),
      isSame: one.isSame && level === word,
    },
  ];
}
