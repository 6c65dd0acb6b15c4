import type { AuditAction } from './audit.ts';
import type { ChainedEvent } from './audit-trail.ts';
import type { FieldChange } from './field-changes.ts';

/** An audit event as `/v1/audit` answers it and `fleetgate audit export` writes it. What is unset is left out. */
export interface AuditEventView {
  readonly sequence: number;
  /** RFC 3339, with milliseconds. */
  readonly at: string;
  readonly actor: string;
  readonly address?: string;
  readonly action: string;
  readonly target?: string;
  readonly result: string;
  readonly request_id?: string;
  readonly token_id?: string;
  readonly changes?: readonly FieldChange[];
  readonly previous_hash: string;
  readonly hash: string;
}

export function toAuditView(event: ChainedEvent): AuditEventView {
  return {
    sequence: event.sequence,
    at: new Date(event.atMs).toISOString(),
    actor: event.actor,
    ...(event.address === undefined ? {} : { address: event.address }),
    action: event.action,
    ...(event.target === undefined ? {} : { target: event.target }),
    result: event.result,
    ...(event.requestId === undefined ? {} : { request_id: event.requestId }),
    ...(event.tokenId === undefined ? {} : { token_id: event.tokenId }),
    ...(event.changes === undefined ? {} : { changes: event.changes }),
    previous_hash: event.previousHash,
    hash: event.hash,
  };
}

/** The event of a view; `undefined` when it is none. Whether it is the one that was recorded says its hash. */
export function fromAuditView(view: unknown): ChainedEvent | undefined {
  if (typeof view !== 'object' || view === null) return undefined;
  const fields = view as Partial<Record<keyof AuditEventView, unknown>>;
  const { sequence, actor, action, result, previous_hash: previousHash, hash } = fields;
  const atMs = typeof fields.at === 'string' ? Date.parse(fields.at) : Number.NaN;
  if (!Number.isSafeInteger(sequence) || Number.isNaN(atMs)) return undefined;
  if (!areTexts([actor, action, result, previousHash, hash])) return undefined;
  const { address, target, request_id: requestId, token_id: tokenId } = fields;
  if (!areTexts([address, target, requestId, tokenId].filter((value) => value !== undefined))) {
    return undefined;
  }
  const { changes } = fields;
  if (changes !== undefined && !Array.isArray(changes)) return undefined;
  return {
    sequence: sequence as number,
    atMs,
    actor: actor as string,
    address: address as string | undefined,
    action: action as AuditAction,
    target: target as string | undefined,
    result: result as string,
    requestId: requestId as string | undefined,
    tokenId: tokenId as string | undefined,
    ...(changes === undefined ? {} : { changes: changes as FieldChange[] }),
    previousHash: previousHash as string,
    hash: hash as string,
  };
}

function areTexts(values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === 'string');
}
