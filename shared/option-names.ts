import { nearest } from './nearest.ts';

/**
 * Refuses names nobody knows: a misspelled option would be ignored.
 * @param prefix what stands before the names in the message, as in `limits.`
 * @throws TypeError that names the nearest known one
 */
export function checkNames(object: object, known: readonly string[], prefix: string): void {
  for (const name of Object.keys(object)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw new TypeError(
      `unknown option ${prefix}${name}${near === undefined ? '' : `; did you mean ${prefix}${near}?`}`,
    );
  }
}
