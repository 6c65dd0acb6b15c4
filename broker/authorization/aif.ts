import { topicFilterProblem } from '@fleetgate/shared';

/** Characters an AIF scope may have. A token has no more, so what is longer came another way. */
export const MAX_AIF_LENGTH = 8192;

/** Entries an AIF scope may have: as many as a principal may hold rules of each kind. */
export const MAX_AIF_ENTRIES = 256;

/** What one entry of an AIF scope permits. */
export interface AifEntry {
  readonly filter: string;
  readonly publish: boolean;
  readonly subscribe: boolean;
}

/**
 * The entries of a scope in the Authorization Information Format (RFC 9237) as RFC 9431 §3 has it for MQTT, or what is
 * wrong with it, in words. The scope is one token: base64url without padding of a JSON array of
 * `[topic filter, ["pub" and/or "sub"]]`. One wrong entry makes the whole wrong. JSON objects, whose members could be
 * given twice, have no place in it.
 */
export function parseAifScope(scope: string): readonly AifEntry[] | string {
  if (scope.length > MAX_AIF_LENGTH) return `it is longer than ${MAX_AIF_LENGTH} characters`;
  const bytes = Buffer.from(scope, 'base64url');
  if (bytes.toString('base64url') !== scope) return 'it is not base64url without padding (RFC 4648 §5)';
  const list = parseJson(bytes);
  if (!Array.isArray(list)) return 'it is not a JSON array in base64url';
  if (list.length > MAX_AIF_ENTRIES) return `it has more than ${MAX_AIF_ENTRIES} entries`;
  const entries: AifEntry[] = [];
  for (const [index, item] of list.entries()) {
    const entry = readEntry(item);
    if (typeof entry === 'string') return `entry ${index + 1}: ${entry}`;
    entries.push(entry);
  }
  return entries;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function readEntry(item: unknown): AifEntry | string {
  if (!Array.isArray(item) || item.length !== 2) return 'it is not [topic filter, [permissions]]';
  const [filter, permissions] = item as unknown[];
  if (typeof filter !== 'string') return 'its topic filter is not a string';
  const problem = topicFilterProblem(filter);
  if (problem !== undefined) return `not a topic filter: ${problem}`;
  if (!Array.isArray(permissions) || permissions.length === 0) return 'it has no list of permissions';
  if (!permissions.every((one) => one === 'pub' || one === 'sub'))
    return 'a permission is neither pub nor sub';
  if (new Set(permissions).size !== permissions.length) return 'a permission is given twice';
  return { filter, publish: permissions.includes('pub'), subscribe: permissions.includes('sub') };
}
