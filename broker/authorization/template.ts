import { nearest } from '@fleetgate/shared';

/** A usable value of a placeholder, where there is one. */
export type KnownValue = (placeholder: string) => string | undefined;

const nothingKnown: KnownValue = () => undefined;

/** A topic filter that may hold placeholders: `{client_id}`, `{group}`, `{claim:NAME}`. */
export interface Template {
  /** The placeholders in it, without braces, in order. */
  readonly placeholders: readonly string[];
  /** The filter with each placeholder replaced by what `value` gives for it. */
  fill(value: (placeholder: string) => string): string;
  /** The filter with every level that holds a placeholder as `+`, unless it is known: what any value could make of it. */
  widened(known?: KnownValue): string;
  /**
   * The filter with each placeholder that is not known as a text equal to no written one: what is true of it is true
   * of any value. Only for `covers` and `overlaps`.
   */
  symbolic(known?: KnownValue): string;
}

const placeholderPattern = /\{([^{}]*)\}/;
// A claim may be named by a URL (RFC 7519 §4.2), so the name may hold slashes.
const claimPattern = /^claim:\S{1,128}$/;
const names = ['client_id', 'group'];

/** The template in `written`, or what is wrong with its braces, in words. */
export function parseTemplate(written: string): Template | string {
  // split with a group: literals at even places, placeholder names at odd ones.
  const parts = written.split(new RegExp(placeholderPattern, 'g'));
  const placeholders = parts.filter((_, index) => index % 2 === 1);
  for (const placeholder of placeholders) {
    if (names.includes(placeholder) || claimPattern.test(placeholder)) continue;
    const near = nearest(placeholder, names);
    return `unknown placeholder {${placeholder}}; ${
      near === undefined ? 'known are {client_id}, {group} and {claim:NAME}' : `did you mean {${near}}?`
    }`;
  }
  if (parts.some((part, index) => index % 2 === 0 && /[{}]/.test(part))) {
    return 'a brace that is no placeholder; known are {client_id}, {group} and {claim:NAME}';
  }
  const [start = ''] = parts;
  if (start.startsWith('$') && !start.includes('/') && placeholders.length > 0) {
    // A deny falls back on `+`, which does not reach such topics.
    return "a first level that begins with '$' cannot hold a placeholder";
  }
  return Object.freeze<Template>({
    placeholders: Object.freeze(placeholders),
    fill: (value: (placeholder: string) => string) =>
      parts.map((part, index) => (index % 2 === 1 ? value(part) : part)).join(''),
    // NUL stands where a placeholder was: its name may hold slashes, and no filter can hold NUL.
    widened: (known = nothingKnown) =>
      parts
        .map((part, index) => (index % 2 === 1 ? (known(part) ?? '\0') : part))
        .join('')
        .split('/')
        .map((level) => (level.includes('\0') ? '+' : level))
        .join('/'),
    // Braces stand in no literal part, and a slash in the name of a claim would make levels.
    symbolic: (known = nothingKnown) =>
      parts
        .map((part, index) => (index % 2 === 1 ? (known(part) ?? `{${part.replaceAll('/', '{')}}`) : part))
        .join(''),
  });
}

/**
 * What makes `value` unusable for a placeholder, in words, or `undefined`. A value with `/`, `+` or `#` would change
 * the levels of the filter, and one that begins with `$` would reach topics no wildcard does [MQTT-4.7.2-1].
 */
export function placeholderProblem(value: unknown): string | undefined {
  if (value === undefined) return 'the token has no such value';
  if (typeof value !== 'string') return 'the value is not a string';
  if (value === '') return 'the value is empty';
  if (/[/+#\0]/.test(value)) return "the value holds '/', '+', '#' or NUL";
  if (value.startsWith('$')) return "the value begins with '$'";
  return undefined;
}
