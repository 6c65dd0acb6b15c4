/** A naive model of MQTT matching: splits strings and tries every topic of a small alphabet. Shares no code with the real one. */

const topicLevels = ['', 'a', 'b', '$x', 'fresh'];

/** Levels the filters under test are made of; `fresh` is left out, so that a wildcard always meets a level no filter names. */
export const filterLevels = ['', 'a', 'b', '$x', '+'];

function sequences(levels: readonly string[], depth: number): string[][] {
  if (depth === 0) return [[]];
  return sequences(levels, depth - 1).flatMap((rest) => levels.map((level) => [...rest, level]));
}

/** Every topic of one to four levels, one level more than the deepest filter. */
export const allTopics: readonly string[] = [1, 2, 3, 4]
  .flatMap((depth) => sequences(topicLevels, depth))
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '');

/** Every filter of one to three levels, with and without `#` as its last level. */
export const allFilters: readonly string[] = [
  ...[1, 2, 3].flatMap((depth) => sequences(filterLevels, depth)),
  ...[0, 1, 2].flatMap((depth) => sequences(filterLevels, depth).map((levels) => [...levels, '#'])),
]
  .map((levels) => levels.join('/'))
  .filter((filter) => filter !== '');

/** MQTT 3.1.1 §4.7, level by level. */
export function modelMatches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const given = topic.split('/');
  if (given[0]?.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false;
  if (wanted.at(-1) === '#') {
    const before = wanted.slice(0, -1);
    return given.length >= before.length && before.every((level, i) => level === '+' || level === given[i]);
  }
  return wanted.length === given.length && wanted.every((level, i) => level === '+' || level === given[i]);
}

const reached = new Map<string, ReadonlySet<string>>();

/** Every enumerated topic the filter matches. */
export function topicsOf(filter: string): ReadonlySet<string> {
  let topics = reached.get(filter);
  if (topics === undefined) {
    topics = new Set(allTopics.filter((topic) => modelMatches(filter, topic)));
    reached.set(filter, topics);
  }
  return topics;
}

export function modelCovers(granted: string, requested: string): boolean {
  return topicsOf(requested).isSubsetOf(topicsOf(granted));
}

export function modelOverlaps(a: string, b: string): boolean {
  return !topicsOf(a).isDisjointFrom(topicsOf(b));
}
