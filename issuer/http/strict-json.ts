import { OAuthError } from '@fleetgate/shared';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Depth of objects and arrays. Ours: what we read is flat, and metadata nearly so. */
const MAX_DEPTH = 16;

/**
 * JSON as I-JSON has it (RFC 7493): UTF-8, no member name twice in one object. Two readers of one text could else see
 * two different requests. A member called `__proto__` is refused, too.
 * @throws OAuthError `invalid_request`; the message never quotes the text
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return invalid('the body is not JSON');
  }
  checkMembers(text);
  return value;
}

/** Walks text that is JSON already: strings are the only tokens that need care. */
function checkMembers(text: string): void {
  const stack: (Set<string> | undefined)[] = [];
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (c === '{' || c === '[') {
      stack.push(c === '{' ? new Set() : undefined);
      if (stack.length > MAX_DEPTH) invalid(`the body is nested deeper than ${MAX_DEPTH} levels`);
    } else if (c === '}' || c === ']') {
      stack.pop();
    } else if (c === '"') {
      const end = endOfString(text, i);
      const names = stack.at(-1);
      if (names !== undefined && isFollowedByColon(text, end)) {
        addName(names, JSON.parse(text.slice(i, end)) as string);
      }
      i = end - 1;
    }
  }
}

function addName(names: Set<string>, name: string): void {
  if (name === '__proto__') invalid('the body has a member that is not allowed');
  if (names.has(name)) invalid('the body has a member name twice');
  names.add(name);
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i + 1;
}

function isFollowedByColon(text: string, start: number): boolean {
  let i = start;
  while (text[i] === ' ' || text[i] === '\t' || text[i] === '\n' || text[i] === '\r') i += 1;
  return text[i] === ':';
}

function invalid(description: string): never {
  throw new OAuthError('invalid_request', description);
}
