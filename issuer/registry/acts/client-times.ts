import type { Selector } from '../../fleet/selector.ts';
import { isTimeField, type TimeCondition } from '../../fleet/time-condition.ts';
import { LAST_USE_GRANULARITY_MS } from '../../secrets.ts';

type Parameters = Record<string, string | number>;

/** Behind every moment: the end of a secret without an end. */
const NEVER_MS = Number.MAX_SAFE_INTEGER;

export const isTimeCondition = (condition: Selector[number]): condition is TimeCondition =>
  typeof condition.subject === 'string' && isTimeField(condition.subject);

/** The condition on a row of `clients`; adds what it is compared with to `parameters`, under names that begin with `name`. */
export function timeSql(
  { subject, operator, durationMs }: TimeCondition,
  name: string,
  parameters: Parameters,
  nowMs: number,
): string {
  const not = operator === 'absent' ? 'NOT ' : '';
  const value = (suffix: string, ms: number) => {
    parameters[`${name}${suffix}`] = ms;
    return `@${name}${suffix}`;
  };
  if (subject === 'expires') {
    const until = operator === 'less' ? nowMs + durationMs : NEVER_MS;
    // Counted, and with a sign before the column: EXISTS, or the index of ends, would be a walk through all secrets.
    return `${not}(SELECT count(*) FROM client_secrets WHERE client_secrets.registration = clients.registration
      AND +expires_at_ms > ${value('now', nowMs)} AND +expires_at_ms <= ${value('until', until)}) > 0`;
  }
  if (subject === 'expired') {
    return `${not}coalesce((SELECT max(coalesce(expires_at_ms, ${NEVER_MS})) FROM client_secrets
      WHERE client_secrets.registration = clients.registration) <= ${value('now', nowMs)}, FALSE)`;
  }
  if (operator === 'less') return `clients.last_seen_at_ms >= ${value('at', lastSeenMs(nowMs, durationMs))}`;
  if (operator === 'more') {
    return `(clients.last_seen_at_ms > 0 AND clients.last_seen_at_ms < ${value('at', lastSeenMs(nowMs, durationMs))})`;
  }
  return `clients.last_seen_at_ms ${operator === 'absent' ? '=' : '>'} 0`;
}

/** What is kept of a last use may be older than the use by so much: whom `more` finds was not seen since, for certain. */
const lastSeenMs = (nowMs: number, durationMs: number) =>
  Math.max(1, nowMs - durationMs - LAST_USE_GRANULARITY_MS);

/** What an index of times leads to: to be used where that is fewer than `limit`. */
export interface TimeLead {
  /** Rows of the index in its own order, `limit` at most. */
  readonly rows: string;
  /** The ids of their clients, as the columns of a SELECT from them. */
  readonly clientIds: string;
  readonly parameters: Parameters;
}

/** By the index of last uses, or of the ends of secrets. */
export function timeLeads(selector: Selector, nowMs: number, limit: number): TimeLead[] {
  return selector.filter(isTimeCondition).flatMap(({ subject, operator, durationMs }) => {
    if (operator === 'absent') return [];
    if (subject === 'expired') return [byEnds(0, nowMs, limit)];
    if (subject === 'expires') {
      return [byEnds(nowMs, operator === 'less' ? nowMs + durationMs : NEVER_MS, limit)];
    }
    const at = lastSeenMs(nowMs, durationMs);
    if (operator === 'less') return [byUses(at, NEVER_MS, limit)];
    return operator === 'more' ? [byUses(1, at, limit)] : [];
  });
}

const byUses = (leadFrom: number, leadUntil: number, limit: number): TimeLead => ({
  rows: `(SELECT client_id FROM clients WHERE last_seen_at_ms >= @leadFrom AND last_seen_at_ms < @leadUntil
    ORDER BY last_seen_at_ms, client_id LIMIT ${limit}) AS used`,
  clientIds: 'used.client_id',
  parameters: { leadFrom, leadUntil },
});

const byEnds = (leadFrom: number, leadUntil: number, limit: number): TimeLead => ({
  rows: `(SELECT registration FROM client_secrets
    WHERE expires_at_ms > @leadFrom AND expires_at_ms <= @leadUntil
    ORDER BY expires_at_ms, registration, slot LIMIT ${limit}) AS ending`,
  // Joined, SQLite may walk through all clients; of a client two secrets may end.
  clientIds:
    'DISTINCT (SELECT client_id FROM clients WHERE clients.registration = ending.registration) AS client_id',
  parameters: { leadFrom, leadUntil },
});
