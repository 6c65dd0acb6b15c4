export interface JsonObject {
  readonly members: ReadonlyMap<string, unknown>;
  /** As parsed: what is asked of it goes through `Object.hasOwn`. */
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * The members of the JSON object `json` is, or `undefined` when it is no object or has a name twice at its top:
 * a parser that takes the last and one that takes the first would read two different tokens. A Map, so that
 * `__proto__` is a name like any other.
 */
export function parseJsonObject(json: string): JsonObject | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const members = new Map(Object.entries(value));
  if (countTopNames(json) !== members.size) return undefined;
  return { members, value: value as JsonObject['value'] };
}

// The text is known to be a JSON object, so only strings and nesting need to be followed.
function countTopNames(json: string): number {
  let depth = 0;
  let colons = 0;
  for (let i = 0; i < json.length; i += 1) {
    switch (json.charCodeAt(i)) {
      case QUOTE:
        i = stringEnd(json, i);
        break;
      case 0x7b: // {
      case 0x5b: // [
        depth += 1;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth -= 1;
        break;
      case 0x3a: // :
        if (depth === 1) colons += 1;
        break;
    }
  }
  return colons;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function stringEnd(json: string, start: number): number {
  let i = start + 1;
  for (let c = json.charCodeAt(i); c !== QUOTE; c = json.charCodeAt(i)) i += c === BACKSLASH ? 2 : 1;
  return i;
}
