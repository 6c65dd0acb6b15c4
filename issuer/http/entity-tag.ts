import { createHash } from 'node:crypto';

/** Bytes of the hash; who could make two clients with one tag may change both anyway. */
const TAG_BYTES = 16;

/** The strong entity tag (RFC 9110 §8.8.3) of what is shown of a resource: changes with anything that is shown. */
export function entityTag(shown: object): string {
  const hash = createHash('sha256').update(JSON.stringify(shown)).digest().subarray(0, TAG_BYTES);
  return `"${hash.toString('base64url')}"`;
}

/** Whether `If-Match` names this tag (RFC 9110 §13.1.1); a weak one never matches. */
export function isMatched(ifMatch: string, tag: string): boolean {
  return ifMatch.split(',').some((one) => ['*', tag].includes(one.trim()));
}
