import { setImmediate, setTimeout } from 'node:timers/promises';
import { type VerifyReport, verifyAudit } from '../commands/audit.ts';
import type { AuditEventView } from '../commands/audit-source.ts';
import type { AskAdmin } from './ask-admin.ts';

/** Events asked for at once: a few milliseconds, which a token request that comes meanwhile waits for. */
const PAGE_EVENTS = 250;

/** Between two words of how far it is. */
const PROGRESS_MS = 250;

/** Retention that deletes rows under a walk lets it begin anew; more often than this it is no retention. */
const MAX_BEGINNINGS = 3;

/** How far a verification is. */
export interface VerifyProgress {
  readonly rows: number;
  readonly of: number;
}

/** The admin API said no, or is away. */
export class WalkRefused extends Error {
  readonly status: number;
  readonly body: unknown;

  constructor(status: number, body: unknown) {
    super('the audit trail cannot be read');
    this.status = status;
    this.body = body;
  }
}

interface Page {
  readonly events: readonly AuditEventView[];
  readonly next_cursor?: string;
}

async function pageOf(ask: AskAdmin, query: URLSearchParams): Promise<Page> {
  const { status, body } = await ask(`/v1/audit?${query}`);
  if (status !== 200) throw new WalkRefused(status, body);
  return body as Page;
}

/** Its number; 0 in an empty trail. */
async function endOf(ask: AskAdmin, order: 'oldest' | 'newest'): Promise<number> {
  return (await pageOf(ask, new URLSearchParams({ order, limit: '1' }))).events[0]?.sequence ?? 0;
}

/**
 * Events in their order, a page at a time, with a turn for everybody else between two pages.
 * @param filter fields of `GET /v1/audit`
 * @throws WalkRefused; what `signal` aborts with
 */
export async function* auditEvents(
  ask: AskAdmin,
  filter: Readonly<Record<string, string>>,
  signal: AbortSignal,
): AsyncGenerator<AuditEventView> {
  let cursor: string | undefined;
  do {
    signal.throwIfAborted();
    const query = { ...filter, order: 'oldest', limit: String(PAGE_EVENTS) };
    const page = await pageOf(ask, new URLSearchParams(cursor === undefined ? query : { ...query, cursor }));
    yield* page.events;
    cursor = page.next_cursor;
    await setImmediate();
  } while (cursor !== undefined);
}

/**
 * Verifies the chain as `fleetgate audit verify` does, up to the row that is the last when it begins; says how far it is,
 * and at the end what it found.
 * @param expect `SEQUENCE:HASH` of a row that it must hold
 * @throws WalkRefused; what `signal` aborts with
 */
export async function* verifyTrail(
  ask: AskAdmin,
  expect: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<VerifyProgress | VerifyReport> {
  const stopped = new AbortController();
  const both = AbortSignal.any([signal, stopped.signal]);
  let first = await endOf(ask, 'oldest');
  let last = await endOf(ask, 'newest');
  let rows = 0;

  async function* counted() {
    rows = 0;
    for await (const event of auditEvents(ask, {}, both)) {
      if (event.sequence > last) return;
      rows += 1;
      yield event;
    }
  }

  async function verified(): Promise<VerifyReport> {
    for (let beginning = 1; ; beginning += 1) {
      const report = await verifyAudit(counted(), expect);
      if (report.intact || beginning === MAX_BEGINNINGS) return report;
      const now = await endOf(ask, 'oldest');
      if (now === first) return report;
      first = now;
      // The row that says up to which they were deleted is one of the newest.
      last = await endOf(ask, 'newest');
    }
  }

  try {
    const found = verified();
    found.catch(() => undefined);
    for (;;) {
      const report = await Promise.race([found, setTimeout(PROGRESS_MS, undefined, { ref: false })]);
      if (report !== undefined) return yield report;
      yield { rows, of: last === 0 ? 0 : last - first + 1 };
    }
  } finally {
    stopped.abort();
  }
}
