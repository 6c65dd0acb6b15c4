/** MQTT topic names and topic filters: validity, `matches`, `covers`, `overlaps`. Source: MQTT 3.1.1 §4.7 and §1.5.3. */

/** Bytes of UTF-8 a topic name or filter may have: the length field has two bytes (MQTT 3.1.1 §1.5.3). */
export const MAX_TOPIC_BYTES = 65_535;

/** Levels a topic name or filter may have. No limit in MQTT; Aedes takes no more, and it bounds the work of one match. */
export const MAX_TOPIC_LEVELS = 100;

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/**
 * What is wrong with a topic name, in words, or `undefined` when it is valid: 1 to 65,535 bytes, no wildcard
 * [MQTT-3.3.2-2], no NUL, lone surrogate, control character or noncharacter [MQTT-1.5.3-1] [MQTT-1.5.3-2].
 * Control characters and noncharacters are "may close" in §1.5.3; they are refused, as mosquitto does.
 */
export function topicNameProblem(topic: string): string | undefined {
  if (topic.includes('+') || topic.includes('#')) return 'a topic name must not hold a wildcard';
  return textProblem(topic);
}

/**
 * What is wrong with a topic filter, in words, or `undefined` when it is valid: as a topic name, but `+` may be a
 * whole level [MQTT-4.7.1-3] and `#` the whole last level [MQTT-4.7.1-2].
 */
export function topicFilterProblem(filter: string): string | undefined {
  for (let i = filter.indexOf('+'); i !== -1; i = filter.indexOf('+', i + 1)) {
    if (!isWholeLevel(filter, i)) return "'+' must be a whole level";
  }
  const hash = filter.indexOf('#');
  if (hash !== -1) {
    if (!isWholeLevel(filter, hash)) return "'#' must be a whole level";
    if (hash + 1 !== filter.length) return "'#' must be the last level";
  }
  return textProblem(filter);
}

/** Whether a topic name is valid; see {@link topicNameProblem}. */
export function isTopicName(topic: string): boolean {
  return topicNameProblem(topic) === undefined;
}

/** Whether a topic filter is valid; see {@link topicFilterProblem}. */
export function isTopicFilter(filter: string): boolean {
  return topicFilterProblem(filter) === undefined;
}

/**
 * Whether `filter` matches `topic` (MQTT 3.1.1 §4.7). Both must be valid. A wildcard in the first level does not
 * match a topic that begins with `$` [MQTT-4.7.2-1]. One walk, no allocation.
 */
export function matches(filter: string, topic: string): boolean {
  const filterLength = filter.length;
  const topicLength = topic.length;
  if (topicLength === 0) return false;
  if (topic.charCodeAt(0) === DOLLAR && filter.charCodeAt(0) !== DOLLAR) return false;
  let f = 0;
  let t = 0;
  while (f < filterLength) {
    const c = filter.charCodeAt(f);
    if (c === HASH) return true;
    if (c === PLUS) {
      while (t < topicLength && topic.charCodeAt(t) !== SLASH) t += 1;
      f += 1;
      continue;
    }
    if (t === topicLength) {
      // The topic ended: only `/#` may be left, since `a/#` also matches `a` (§4.7.1.2).
      return c === SLASH && f + 2 === filterLength && filter.charCodeAt(f + 1) === HASH;
    }
    if (c !== topic.charCodeAt(t)) return false;
    f += 1;
    t += 1;
  }
  return t === topicLength;
}

/**
 * Whether every topic that `requested` can match is matched by `granted`. Both must be valid filters.
 * `+/#` and `#` match the same topics, and so cover each other.
 */
export function covers(granted: string, requested: string): boolean {
  if (requested.charCodeAt(0) === DOLLAR && granted.charCodeAt(0) !== DOLLAR) return false;
  if (requested === '#') return granted === '#' || granted === '+/#';
  // The parent of `/#` is the empty topic, which does not exist [MQTT-4.7.3-1].
  if (requested === '/#') return covers(granted, '/+/#');
  let g = 0;
  let r = 0;
  for (;;) {
    const gEnd = levelEnd(granted, g);
    const rEnd = levelEnd(requested, r);
    const gc = granted.charCodeAt(g);
    const rc = requested.charCodeAt(r);
    if (gc === HASH && g < granted.length) return true;
    if (rc === HASH && r < requested.length) return false;
    const grantedIsPlus = gc === PLUS && g < granted.length;
    if (!grantedIsPlus && !sameLevel(granted, g, gEnd, requested, r, rEnd)) return false;
    if (rEnd === requested.length) return gEnd === granted.length || restIsHash(granted, gEnd);
    if (gEnd === granted.length) return false;
    g = gEnd + 1;
    r = rEnd + 1;
  }
}

/** Whether some topic is matched by both filters. Both must be valid filters. */
export function overlaps(a: string, b: string): boolean {
  // A wildcard in the first level never meets a first level that begins with `$` [MQTT-4.7.2-1].
  if ((a.charCodeAt(0) === DOLLAR) !== (b.charCodeAt(0) === DOLLAR)) return false;
  let i = 0;
  let j = 0;
  for (;;) {
    const iEnd = levelEnd(a, i);
    const jEnd = levelEnd(b, j);
    const ac = i < a.length ? a.charCodeAt(i) : -1;
    const bc = j < b.length ? b.charCodeAt(j) : -1;
    if (ac === HASH || bc === HASH) return true;
    if (ac !== PLUS && bc !== PLUS && !sameLevel(a, i, iEnd, b, j, jEnd)) return false;
    // `/#` and `+` would meet only in the empty topic, which does not exist [MQTT-4.7.3-1].
    if (iEnd === a.length) return jEnd === b.length || (jEnd > 0 && restIsHash(b, jEnd));
    if (jEnd === b.length) return iEnd > 0 && restIsHash(a, iEnd);
    i = iEnd + 1;
    j = jEnd + 1;
  }
}

/** Whether the character at `i` stands alone in its level. */
function isWholeLevel(filter: string, i: number): boolean {
  const startsLevel = i === 0 || filter.charCodeAt(i - 1) === SLASH;
  return startsLevel && (i + 1 === filter.length || filter.charCodeAt(i + 1) === SLASH);
}

/** Printable ASCII: what nearly every topic is, and a regular expression sees faster than a walk. */
const PLAIN = /^[ -~]+$/;

function textProblem(text: string): string | undefined {
  if (text.length === 0) return 'it must have at least one character';
  if (!PLAIN.test(text)) {
    const problem = unicodeProblem(text);
    if (problem !== undefined) return problem;
  } else if (text.length > MAX_TOPIC_BYTES) {
    return `it is longer than ${MAX_TOPIC_BYTES} bytes`;
  }
  let levels = 1;
  for (let i = text.indexOf('/'); i !== -1; i = text.indexOf('/', i + 1)) levels += 1;
  if (levels > MAX_TOPIC_LEVELS) return `it has more than ${MAX_TOPIC_LEVELS} levels`;
  return undefined;
}

function unicodeProblem(text: string): string | undefined {
  let bytes = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 0) return 'NUL is not allowed';
    if (c < 0x20 || (c >= 0x7f && c <= 0x9f)) return 'control characters are not allowed';
    if (c < 0x80) bytes += 1;
    else if (c < 0x800) bytes += 2;
    else if (c < 0xd800 || c > 0xdfff) {
      if ((c >= 0xfdd0 && c <= 0xfdef) || c >= 0xfffe) return 'Unicode noncharacters are not allowed';
      bytes += 3;
    } else {
      const low = text.charCodeAt(i + 1);
      if (c > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) return 'it is not well-formed Unicode';
      // U+nFFFE and U+nFFFF: the low ten bits are 3FE or 3FF and the high surrogate ends a plane.
      if ((low & 0x3fe) === 0x3fe && (c & 0x3f) === 0x3f) return 'Unicode noncharacters are not allowed';
      bytes += 4;
      i += 1;
    }
  }
  return bytes > MAX_TOPIC_BYTES ? `it is longer than ${MAX_TOPIC_BYTES} bytes` : undefined;
}

function levelEnd(text: string, start: number): number {
  const slash = text.indexOf('/', start);
  return slash === -1 ? text.length : slash;
}

function sameLevel(
  a: string,
  aStart: number,
  aEnd: number,
  b: string,
  bStart: number,
  bEnd: number,
): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false;
  for (let i = aStart, j = bStart; i < aEnd; i += 1, j += 1) {
    if (a.charCodeAt(i) !== b.charCodeAt(j)) return false;
  }
  return true;
}

/** Whether what follows the level that ended at `end` is exactly `/#`, which also matches nothing more. */
function restIsHash(filter: string, end: number): boolean {
  return filter.length === end + 2 && filter.charCodeAt(end + 1) === HASH;
}
