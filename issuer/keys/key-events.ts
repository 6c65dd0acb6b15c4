import { type AuditAction, type AuditEvent, auditEvent, type Caller } from '../audit.ts';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';
import { byState, type KeyAct, type NewKey } from './lifecycle.ts';

/** Whose doing it is; see `AuditEvent.actor`. */
export interface KeyActor {
  readonly actor: string;
  readonly caller?: Caller;
}

interface EventContext {
  readonly atMs: number;
  readonly by: KeyActor;
  readonly keyFor: (act: KeyAct) => NewKey;
}

/** What the audit trail says of the acts: a row for each key and step. */
export function keyEvents(
  acts: readonly KeyAct[],
  keys: readonly StoredSigningKey[],
  { atMs, by, keyFor }: EventContext,
): readonly AuditEvent[] {
  const event = (action: AuditAction, target: string) => auditEvent({ atMs, action, target, ...by });
  const removed = new Set(acts.flatMap((act) => (act.kind === 'remove' ? [act.kid] : [])));
  const { active } = byState(keys);
  const retired = active === undefined || removed.has(active.kid) ? [] : [event('key.retire', active.kid)];

  return acts.flatMap((act) => {
    const { kind } = act;
    if (kind === 'wait_again') return [];
    const kid = 'kid' in act ? act.kid : keyFor(act).kid;
    const made = event(actions[kind], kid);
    return kind === 'activate' || kind === 'replace' ? [made, ...retired] : [made];
  });
}

const actions: Readonly<Record<Exclude<KeyAct['kind'], 'wait_again'>, AuditAction>> = {
  publish: 'key.publish',
  replace: 'key.activate',
  schedule: 'key.schedule',
  activate: 'key.activate',
  remove: 'key.remove',
};
