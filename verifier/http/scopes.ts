import { scopeTokenPattern } from '../scope-claims.ts';

/** The scopes a route wants: each of them, or one of them. */
export interface RequiredScopes {
  readonly need: 'all' | 'any';
  readonly scopes: readonly string[];
}

/**
 * Each of these scopes.
 * @throws TypeError for none, or one that no token can hold
 */
export function allScopes(...scopes: readonly string[]): RequiredScopes {
  return required('all', scopes);
}

/**
 * One of these scopes.
 * @throws TypeError for none, or one that no token can hold
 */
export function anyScope(...scopes: readonly string[]): RequiredScopes {
  return required('any', scopes);
}

/** Whole names: `event` is not part of `event.create`. */
export function hasScopes(held: readonly string[], { need, scopes }: RequiredScopes): boolean {
  return need === 'all'
    ? scopes.every((scope) => held.includes(scope))
    : scopes.some((scope) => held.includes(scope));
}

function required(need: 'all' | 'any', scopes: readonly string[]): RequiredScopes {
  // Of no scopes every token has all: a list that came out empty would open the route.
  if (scopes.length === 0) throw new TypeError('no scope is named; name those the route needs');
  for (const scope of scopes) {
    if (typeof scope !== 'string' || !scopeTokenPattern.test(scope)) {
      throw new TypeError(`${JSON.stringify(scope)} is no scope; give each as an argument of its own`);
    }
  }
  return Object.freeze({ need, scopes: Object.freeze([...scopes]) });
}
