import { OAuthError } from '@fleetgate/shared';

/** A text with places to fill, as `sensor-{serial}` or `box-{n:06}`. */
export interface Pattern {
  readonly parts: readonly (string | Place)[];
}

interface Place {
  readonly name: string;
  /** Digits that a number is filled up to. */
  readonly width: number | undefined;
}

/** Characters of a pattern, and digits of a number in it. Ours: what comes of it is shorter still. */
const MAX_PATTERN_LENGTH = 256;
const MAX_WIDTH = 15;

/** Characters that come of a pattern: more than any of its fields takes. Ours, as all rows of a request are filled at once. */
const MAX_FILLED_LENGTH = 4096;

const placePattern = /^([A-Za-z][A-Za-z0-9_.-]{0,63})(?::0(\d{1,2}))?$/;

/**
 * Reads a pattern: `{name}` is filled by the value of that name, `{n:06}` by a number of six digits.
 * @throws OAuthError `invalid_request`, naming the field
 */
export function parsePattern(field: string, text: string): Pattern {
  if (text.length > MAX_PATTERN_LENGTH) invalid(`${field} must be at most ${MAX_PATTERN_LENGTH} characters`);
  const parts = text.split(/(\{[^{}]*\})/).filter((part) => part !== '');
  return { parts: parts.map((part) => readPart(field, part)) };
}

function readPart(field: string, part: string): string | Place {
  if (!(part.startsWith('{') && part.endsWith('}'))) {
    if (/[{}]/.test(part)) invalid(`${field} has a brace without its partner`);
    return part;
  }
  const [, name, digits] = placePattern.exec(part.slice(1, -1)) ?? [];
  if (name === undefined) invalid(`${field} has ${part.slice(0, 32)}; a place is like {serial} or {n:06}`);
  const width = digits === undefined ? undefined : Number(digits);
  if (width !== undefined && (width < 1 || width > MAX_WIDTH)) {
    invalid(`${field} asks for ${width} digits; it may be 1 to ${MAX_WIDTH}`);
  }
  return { name, width };
}

/** The names of what it is filled by. */
export function namesOf({ parts }: Pattern): string[] {
  return parts.flatMap((part) => (typeof part === 'string' ? [] : [part.name]));
}

/**
 * Fills a pattern.
 * @throws OAuthError `invalid_request` where a value is missing, or is no number where digits are asked for
 */
export function fillPattern(field: string, { parts }: Pattern, values: ReadonlyMap<string, string>): string {
  let filled = '';
  for (const part of parts) {
    filled += typeof part === 'string' ? part : fillPlace(field, part, values);
    if (filled.length > MAX_FILLED_LENGTH)
      invalid(`${field} comes out longer than ${MAX_FILLED_LENGTH} characters`);
  }
  return filled;
}

function fillPlace(field: string, { name, width }: Place, values: ReadonlyMap<string, string>): string {
  const value = values.get(name) ?? '';
  if (value === '') return invalid(`${field} needs a value of '${name}', and there is none`);
  if (width === undefined) return value;
  if (!/^\d+$/.test(value)) return invalid(`${field} needs a number in '${name}'`);
  return value.padStart(width, '0');
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
