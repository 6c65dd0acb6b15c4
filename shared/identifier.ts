const identifierPattern = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Whether `value` may name a client or a group: `[A-Za-z0-9._-]{1,64}`. No character of it means anything in a
 * topic filter, so an identifier put into a filter cannot widen it.
 */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && identifierPattern.test(value);
}

/** Whether a text has the form of a client secret, 32 bytes in base64url: who takes one for an id sends it there. */
export function isSecretShaped(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text);
}
