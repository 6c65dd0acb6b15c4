/**
 * Patterns of named scopes, `event.*`. They stand in registrations only: a request names what it wants, and a token
 * never holds a `*`, since a resource server with wildcards of its own could read more into it.
 */

/** What these scopes allow at the issuer itself is registered by whole names only. */
const ISSUER_PREFIX = 'fleetgate.';

/** Whether the name of a scope holds a `*`, so that it is a pattern or nothing that can be granted. */
export const hasStar = (name: string) => name.includes('*');

/** Why `name`, which holds a `*`, is no pattern, in words; `undefined` when it is one. */
export function patternProblem(name: string): string | undefined {
  const start = name.slice(0, -1);
  if (!name.endsWith('.*') || hasStar(start) || !hasFullParts(start.slice(0, -1))) {
    return "'*' may be the last part of a name and nothing else, as in event.*";
  }
  if (name.startsWith(ISSUER_PREFIX))
    return 'scopes of the issuer itself are registered by their whole names';
  return undefined;
}

/**
 * Whether a pattern permits a name: `event.*` permits `event.create` and `event.a.b`, not `event` nor `event.`. As
 * SuperTokens does it, but for parts that are empty.
 */
export function permits(pattern: string, name: string): boolean {
  const start = pattern.slice(0, -1);
  return name.startsWith(start) && !hasStar(name) && hasFullParts(name.slice(start.length));
}

const hasFullParts = (name: string) =>
  name !== '' && !name.startsWith('.') && !name.endsWith('.') && !name.includes('..');
