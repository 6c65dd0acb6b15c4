import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fromAuditView, parseCheckpoint, verifyChain } from '@fleetgate/issuer';
import { FleetgateError } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { type Format, formatJson, formatTable } from '../output.ts';
import type { AuditEventView } from './audit-source.ts';

/** What `audit verify` prints. */
export interface VerifyReport {
  readonly intact: boolean;
  readonly rows?: number;
  readonly first?: number;
  /** The last row as `SEQUENCE:HASH`: what a later `verify --expect` holds the trail to. */
  readonly checkpoint?: string;
  readonly broken_at?: number;
  readonly problem?: string;
}

const problems = {
  changed: 'is not what was recorded',
  rows_missing: 'does not follow the one before: rows are gone, and no retention deleted them',
  checkpoint_missing: 'is expected, and the trail does not hold it: it was cut off, rewritten or restored',
} as const;

/**
 * Verifies the chain.
 * @param expect `SEQUENCE:HASH` of a row it must hold
 */
export async function verifyAudit(
  views: AsyncIterable<unknown>,
  expect: string | undefined,
): Promise<VerifyReport> {
  const expected = parseCheckpoint(expect);
  if (expect !== undefined && expected === undefined) {
    throw new UsageError("--expect takes SEQUENCE:HASH, as 'audit verify' and 'audit export' print it");
  }
  const verdict = await verifyChain(parsed(views), { expected });
  if (!verdict.isIntact) {
    return { intact: false, broken_at: verdict.sequence, problem: problems[verdict.problem] };
  }
  const { rows, first, last } = verdict;
  return {
    intact: true,
    rows,
    ...(first === undefined ? {} : { first: first.sequence }),
    ...(last === undefined ? {} : { checkpoint: checkpointOf(last) }),
  };
}

async function* parsed(views: AsyncIterable<unknown>) {
  let line = 0;
  for await (const view of views) {
    line += 1;
    const event = fromAuditView(view);
    if (event === undefined) {
      throw new FleetgateError('audit_malformed', `line ${line} is not an event of an audit trail`);
    }
    yield event;
  }
}

/** The events of an export; `-` is standard input. */
export async function* readExport(file: string): AsyncGenerator<unknown> {
  const input = file === '-' ? process.stdin : createReadStream(file, 'utf8');
  const opened = new Promise<never>((_, fail) => {
    input.once('error', (error: NodeJS.ErrnoException) =>
      fail(new UsageError(`cannot read ${file} (${error.code})`)),
    );
  });
  opened.catch(() => undefined);
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await Promise.race([lines.next(), opened]);
    if (done === true) return;
    if (value.trim() !== '') yield parseLine(value);
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

export function checkpointOf({ sequence, hash }: Pick<AuditEventView, 'sequence' | 'hash'>): string {
  return `${sequence}:${hash}`;
}

/** Events as `--format` asks. */
export function formatEvents(events: readonly AuditEventView[], format: Format): string {
  if (format === 'json') return formatJson(events);
  return formatTable(
    ['sequence', 'at', 'actor', 'action', 'target', 'result', 'address'],
    events.map(({ sequence, at, actor, action, target, result, address }) => ({
      sequence,
      at,
      actor,
      action,
      target,
      result,
      address,
    })),
  );
}

/** Milliseconds since 1970 of a moment as a person writes it. */
export function momentMs(option: string, text: string): number {
  const ms = /^\d{1,11}$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (/^\d{4}-\d\d-\d\d|^\d{1,11}$/.test(text) && !Number.isNaN(ms)) return ms;
  throw new UsageError(`${option} takes seconds since 1970 or a time such as 2026-01-31T12:00:00Z`);
}
