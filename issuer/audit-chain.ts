import { hash } from 'node:crypto';
import type { AuditEvent } from './audit.ts';

/** What stands in the place of a hash before the first row: 32 zero bytes. */
export const GENESIS_HASH: Uint8Array = new Uint8Array(32);

/** One row of the trail, as a place to which the trail can be held. */
export interface Checkpoint {
  readonly sequence: number;
  /** Of that row, 64 hexadecimal digits. */
  readonly hash: string;
}

/**
 * The hash of a row: SHA-256 of the hash before it, 64 lower-case hexadecimal digits, followed by the row as a JSON
 * array without spaces: sequence, milliseconds since 1970, actor, address, action, target, result, request id, token
 * id, with null for what is unset, and what changed where that is set. docs/operations.md says the same: who audits
 * does not need this code.
 */
export function chainHash(previous: Uint8Array, sequence: number, event: AuditEvent): Buffer {
  const row = JSON.stringify([
    sequence,
    event.atMs,
    event.actor,
    event.address ?? null,
    event.action,
    event.target ?? null,
    event.result,
    event.requestId ?? null,
    event.tokenId ?? null,
    // At the end and only where there are any: rows from before there were have the hash they had.
    ...(event.changes === undefined ? [] : [event.changes]),
  ]);
  return hash('sha256', `${hex(previous)}${row}`, 'buffer');
}

/** `SEQUENCE:HASH`, as commands print and take it and as `audit.prune` names the last row it deleted. */
export function formatCheckpoint({ sequence, hash }: Checkpoint): string {
  return `${sequence}:${hash}`;
}

const checkpointPattern = /^(\d{1,15}):([0-9a-f]{64})$/;

/** `undefined` for a text that is none. */
export function parseCheckpoint(text: string | undefined): Checkpoint | undefined {
  const [, sequence, hash] = checkpointPattern.exec(text ?? '') ?? [];
  return sequence === undefined || hash === undefined ? undefined : { sequence: Number(sequence), hash };
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
