import type { Policy } from '@fleetgate/broker/policy';
import { parseScope } from '@fleetgate/shared';

/** Each filter of a policy as it is written. */
export function writtenFilters({ scopes, denyPublish, denySubscribe }: Policy): string[] {
  const rules = Array.from(scopes.values()).flatMap(({ publish, subscribe }) => [...publish, ...subscribe]);
  return [...rules, ...denyPublish, ...denySubscribe].map(({ rule }) => rule.written);
}

/** The filters of the direct scopes in a scope. */
export function directFilters(scope: string): string[] {
  return parseScope(scope).flatMap((token) => (token.kind === 'direct' ? [token.filter] : []));
}

/** The names of placeholders in filters, without braces. */
export function placeholdersOf(filters: readonly string[]): Set<string> {
  return new Set(
    filters.flatMap((filter) =>
      Array.from(filter.matchAll(placeholderPattern), ([, name]) => name as string),
    ),
  );
}

/**
 * The values of placeholders that filters tell from others: a level without a placeholder, and what would have to stand
 * in `dev-{client_id}` to make it that level. Any value that is not among them is like any other.
 */
export function namedWords(filters: readonly string[]): Set<string> {
  return wordsOf(filters.flatMap(levelsOf));
}

/** The same of one placeholder of these very filters: only words of a level count at which it stands. */
export function wordsBeside(filters: readonly string[], placeholder: string): Set<string> {
  const own = `{${placeholder}}`;
  const split = filters.map((filter) => levelsOf(filter.replaceAll(own, '{own}')));
  const depth = Math.max(0, ...split.map(({ length }) => length));
  const columns = Array.from({ length: depth }, (_, at) => split.flatMap((levels) => levels[at] ?? []));
  return new Set(
    columns
      .filter((levels) => levels.some((level) => level.includes('{own}')))
      .flatMap((levels) => [...wordsOf(levels)]),
  );
}

function wordsOf(levels: readonly string[]): Set<string> {
  const all = new Set(levels);
  const plain = Array.from(all).filter((level) => !isHoled(level));
  const affixes = Array.from(all)
    .filter(isHoled)
    .map((level) => [level.slice(0, level.indexOf('{')), level.slice(level.lastIndexOf('}') + 1)] as const);
  const words = plain.flatMap((level) => [
    level,
    ...affixes
      .filter(([start, end]) => level.startsWith(start) && level.endsWith(end))
      .map(([start, end]) => level.slice(start.length, level.length - end.length)),
  ]);
  return new Set(words.filter((word) => word !== '' && word !== '+' && word !== '#'));
}

const placeholderPattern = /\{([^{}]*)\}/g;
const isHoled = (level: string) => level.includes('{');

/** The name of a claim may hold slashes, which divide no levels. */
function levelsOf(filter: string): string[] {
  return filter.replace(placeholderPattern, (hole) => (hole === '{own}' ? hole : '{}')).split('/');
}
