import { FleetgateError, nearest, parseScope, putBounded, type ScopeToken } from '@fleetgate/shared';
import type { ClientRecord } from './registry/registry.ts';
import { hasStar, patternProblem } from './scope-pattern.ts';

/** What a client is registered for, its placeholders filled in. */
export interface RegisteredScope {
  /** What a token may hold, each once: also what a request without a scope gets. */
  readonly tokens: readonly ScopeToken[];
  /** Patterns of named scopes. */
  readonly patterns: readonly string[];
}

/**
 * Checks a scope for registration: well-formed, `*` in named scopes as a pattern only, and no placeholder but
 * `{client_id}` and `{group}` in direct ones.
 * @throws FleetgateError `scope_malformed`
 */
export function checkRegisteredScope(scope: string): void {
  for (const token of parseScope(scope)) {
    const problem = token.kind === 'named' ? starProblem(token.token) : placeholderProblem(token.filter);
    if (problem !== undefined) {
      throw new FleetgateError('scope_malformed', `scope '${token.token}': ${problem}`);
    }
  }
}

/** The scope of a client that was registered. */
export function registeredScope(client: ClientRecord): RegisteredScope {
  const tokens: ScopeToken[] = [];
  const patterns: string[] = [];
  for (const token of tokensOf(client.scope)) {
    const isStarred = token.kind === 'named' && hasStar(token.token);
    const filledIn = isStarred ? undefined : concrete(token, client);
    if (filledIn !== undefined) tokens.push(filledIn);
    if (isStarred && patternProblem(token.token) === undefined) patterns.push(token.token);
  }
  return { tokens, patterns };
}

/** Scopes whose tokens are kept ready: the machines of a fleet share a few. */
const MAX_READY_SCOPES = 256;

const ready = new Map<string, readonly ScopeToken[]>();

function tokensOf(scope: string): readonly ScopeToken[] {
  const known = ready.get(scope);
  if (known !== undefined) return known;
  const tokens = parseScope(scope);
  putBounded(ready, scope, tokens, MAX_READY_SCOPES);
  return tokens;
}

/** The token with its placeholders filled in; `undefined` when the client has no value for one of them. */
export function concrete(token: ScopeToken, client: ClientRecord): ScopeToken | undefined {
  if (token.kind === 'named' || !token.filter.includes('{')) return token;
  let { filter, token: text } = token;
  for (const [name, valueFor] of placeholders) {
    const placeholder = `{${name}}`;
    if (!filter.includes(placeholder)) continue;
    const value = valueFor(client);
    if (value === undefined) return undefined;
    // An identifier: nothing in it means anything in a filter, nor is percent-encoded in a token.
    filter = filter.replaceAll(placeholder, value);
    text = text.replaceAll(placeholder, value);
  }
  return { ...token, filter, token: text };
}

const placeholders: ReadonlyMap<string, (client: ClientRecord) => string | undefined> = new Map([
  ['client_id', ({ clientId }) => clientId],
  ['group', ({ group }) => group],
]);

const starProblem = (name: string) => (hasStar(name) ? patternProblem(name) : undefined);

function placeholderProblem(filter: string): string | undefined {
  for (const [, name = ''] of filter.matchAll(/\{([^{}/]*)\}/g)) {
    if (placeholders.has(name)) continue;
    const near = nearest(name, placeholders.keys());
    return `unknown placeholder; ${near === undefined ? 'it may be {client_id} or {group}' : `did you mean {${near}}?`}`;
  }
  return undefined;
}
