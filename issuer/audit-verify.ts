import { type Checkpoint, chainHash, formatCheckpoint, GENESIS_HASH, hex } from './audit-chain.ts';
import type { ChainedEvent } from './audit-trail.ts';

/** What is wrong with a row. */
export type ChainProblem =
  /** Its fields, or its hash, are not what was recorded. */
  | 'changed'
  /** Rows before it are gone, and no retention says so. */
  | 'rows_missing'
  /** The trail does not hold the row that was expected, or another in its place. */
  | 'checkpoint_missing';

export type ChainVerdict =
  | {
      readonly isIntact: true;
      readonly rows: number;
      /** Unset for an empty trail. */
      readonly first: Checkpoint | undefined;
      readonly last: Checkpoint | undefined;
    }
  | { readonly isIntact: false; readonly sequence: number; readonly problem: ChainProblem };

export interface VerifyOptions {
  /** A row that the trail must hold. Rows cut off at the end are found by this alone. */
  readonly expected?: Checkpoint | undefined;
  /** The row after which these begin, where it is known from before; else they begin with the trail. */
  readonly after?: Checkpoint | undefined;
}

/**
 * Whether rows, in order, are those that were recorded: each fits its hash and follows the one before. A trail that
 * retention has shortened begins later than row 1, and a row behind says up to which one was deleted.
 */
export async function verifyChain(
  events: AsyncIterable<ChainedEvent>,
  { expected, after }: VerifyOptions = {},
): Promise<ChainVerdict> {
  const genesis = { sequence: 0, hash: hex(GENESIS_HASH) };
  let start: Checkpoint | undefined = after;
  let last: Checkpoint | undefined = after;
  let isStartVouched = after !== undefined;
  let isExpectedSeen = false;
  let rows = 0;
  const broken = (sequence: number, problem: ChainProblem) =>
    ({ isIntact: false, sequence, problem }) as const;

  for await (const event of events) {
    if (last === undefined) {
      start = event.sequence === 1 ? genesis : { sequence: event.sequence - 1, hash: event.previousHash };
      isStartVouched = start === genesis;
      isExpectedSeen = isSame(start, expected);
      last = start;
    }
    if (event.sequence !== last.sequence + 1) return broken(event.sequence, 'rows_missing');
    const hash = hex(chainHash(Buffer.from(last.hash, 'hex'), event.sequence, event));
    if (hash !== event.hash || event.previousHash !== last.hash) {
      return broken(event.sequence, isStartVouched || rows > 0 ? 'changed' : 'rows_missing');
    }
    last = { sequence: event.sequence, hash };
    rows += 1;
    if (last.sequence === expected?.sequence) {
      if (last.hash !== expected.hash) return broken(last.sequence, 'checkpoint_missing');
      isExpectedSeen = true;
    }
    isStartVouched ||=
      event.action === 'audit.prune' && start !== undefined && event.target === formatCheckpoint(start);
  }

  if (rows > 0 && !isStartVouched) return broken((start?.sequence ?? 0) + 1, 'rows_missing');
  if (expected !== undefined && !isExpectedSeen) return broken(expected.sequence, 'checkpoint_missing');
  const first = rows === 0 ? undefined : start && { ...start, sequence: start.sequence + 1 };
  return { isIntact: true, rows, first, last: rows === 0 ? undefined : last };
}

function isSame(one: Checkpoint, other: Checkpoint | undefined): boolean {
  return one.sequence === other?.sequence && one.hash === other.hash;
}
