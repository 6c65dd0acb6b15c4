import { FleetgateError } from './errors.ts';
import { topicFilterProblem } from './topic.ts';

/** Characters a `scope` value may have. Ours: it bounds the work of one token request and the size of a token. */
export const MAX_SCOPE_LENGTH = 4096;

/** Scope tokens one `scope` value may have. Ours: each becomes grants that every publish may be tried against. */
export const MAX_SCOPE_TOKENS = 128;

/** A scope token whose meaning the broker's policy file gives, as `telemetry.write`. */
export interface NamedScope {
  readonly kind: 'named';
  readonly token: string;
}

/** A scope token that is its own grant: `mqtt:publish:<filter>` or `mqtt:subscribe:<filter>`, percent-encoded. */
export interface DirectScope {
  readonly kind: 'direct';
  readonly token: string;
  readonly action: 'publish' | 'subscribe';
  /** The topic filter, decoded. At registration it may hold `{client_id}` and `{group}`. */
  readonly filter: string;
}

export type ScopeToken = NamedScope | DirectScope;

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
const scopeTokenPattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const directPattern = /^mqtt:(publish|subscribe):(.+)$/;

/**
 * The tokens of a `scope` string (RFC 6749 §3.3: separated by single spaces) in order, each once.
 * @throws FleetgateError `scope_malformed`
 */
export function parseScope(scope: string): ScopeToken[] {
  if (scope.length > MAX_SCOPE_LENGTH) malformed(`scope is longer than ${MAX_SCOPE_LENGTH} characters`);
  if (scope === '') return [];
  return parseScopeTokens(scope.split(' '));
}

/**
 * As {@link parseScope}, for tokens given as a list.
 * @throws FleetgateError `scope_malformed`
 */
export function parseScopeTokens(tokens: readonly string[]): ScopeToken[] {
  const unique = new Set(tokens);
  if (unique.size > MAX_SCOPE_TOKENS) malformed(`scope has more than ${MAX_SCOPE_TOKENS} tokens`);
  // Two spellings of one direct scope are one token.
  const parsed = new Map<string, ScopeToken>();
  for (const token of unique) {
    const scope = parseScopeToken(token);
    parsed.set(scope.token, scope);
  }
  return Array.from(parsed.values());
}

/** The `scope` string of tokens, separated by single spaces. */
export function formatScope(tokens: readonly ScopeToken[]): string {
  return tokens.map(({ token }) => token).join(' ');
}

/** The direct scope token that grants `action` on `filter`; what RFC 6749 forbids is percent-encoded. */
export function directScopeToken(action: 'publish' | 'subscribe', filter: string): string {
  const problem = topicFilterProblem(filter);
  if (problem !== undefined) throw new TypeError(`not a topic filter: ${problem}`);
  return `mqtt:${action}:${encodeFilter(filter)}`;
}

function parseScopeToken(token: string): ScopeToken {
  if (!scopeTokenPattern.test(token)) {
    malformed(
      token === ''
        ? 'scope tokens are separated by single spaces'
        : `scope token '${printable(token)}' holds a character RFC 6749 §3.3 forbids; percent-encode it`,
    );
  }
  if (!token.startsWith('mqtt:')) return { kind: 'named', token };
  const [, action, encoded = ''] = directPattern.exec(token) ?? [];
  if (action !== 'publish' && action !== 'subscribe') {
    malformed(`scope token '${token}' is neither mqtt:publish:<filter> nor mqtt:subscribe:<filter>`);
  }
  const filter = decodeFilter(encoded);
  if (filter === undefined) malformed(`scope token '${token}' is not well-formed percent-encoding`);
  const problem = topicFilterProblem(filter);
  if (problem !== undefined) malformed(`scope token '${token}' is not a topic filter: ${problem}`);
  // Without an escape it is spelled as it is meant to be.
  const spelled = filter === encoded ? token : `mqtt:${action}:${encodeFilter(filter)}`;
  return { kind: 'direct', token: spelled, action, filter };
}

// The one spelling of a filter in a token: only what RFC 6749 forbids, and `%` itself, is encoded.
function encodeFilter(filter: string): string {
  return filter.replace(/[^\x21\x23\x24\x26-\x5b\x5d-\x7e]/gu, (character) => {
    const bytes = new TextEncoder().encode(character);
    return Array.from(bytes, (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
  });
}

function decodeFilter(encoded: string): string | undefined {
  if (!encoded.includes('%')) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function printable(text: string): string {
  return text.slice(0, 64).replace(/[^\x20-\x7e]/g, '?');
}

function malformed(message: string): never {
  throw new FleetgateError('scope_malformed', message);
}
