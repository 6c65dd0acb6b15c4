import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import { type AuditAction, type AuditEvent, adminActor, auditEvent } from './audit.ts';
import type { Administrator } from './clients.ts';
import type { Registry } from './registry/registry.ts';

/** How acts of administrators come into the audit trail. */
export interface AdministrativeActs {
  /** The event of an act; `result` is `ok` unless given. */
  event(by: Administrator, action: AuditAction, target: string, result?: string): AuditEvent;
  /** Does an act, which records that it was done, and records that it was refused. */
  recorded<T>(
    action: AuditAction,
    target: string | undefined,
    by: Administrator,
    act: () => Promise<T>,
  ): Promise<T>;
}

export function administrativeActs(registry: Registry, now: () => number): AdministrativeActs {
  const event = (by: Administrator, action: AuditAction, target: string | undefined, result?: string) =>
    auditEvent({
      atMs: now(),
      actor: adminActor(by.keyName),
      action,
      caller: by,
      target,
      ...(result === undefined ? {} : { result }),
    });

  return {
    event,
    async recorded(action, target, by, act) {
      try {
        return await act();
      } catch (error) {
        // What cannot be written cannot be recorded either.
        if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
        // What is no identifier is whatever the caller chose.
        await registry.recordEvent(event(by, action, isIdentifier(target) ? target : undefined, error.code));
        throw error;
      }
    },
  };
}
