import { auditEvent, type Caller, clientActor } from './audit.ts';
import type { ClientRecord, Registry } from './registry/registry.ts';
import { type ClientSecret, LAST_USE_GRANULARITY_MS } from './secrets.ts';

/**
 * How long an old secret goes on after the new one was used. Ours: requests that are under way, and the other
 * processes of a gateway that read its credentials file once a minute.
 */
export const SUCCESSION_GRACE_MS = 60_000;

/**
 * Remembers that a client proved itself by a secret: the first use, once and durably before the promise settles, and
 * after that the day. Most requests write nothing here.
 * @throws FleetgateError `registry_unavailable`
 */
export async function recordSecretUse(
  { registration, clientId }: ClientRecord,
  { secretId, lastUsedAtMs }: ClientSecret,
  caller: Caller,
  { registry, now }: { readonly registry: Pick<Registry, 'recordSecretUse'>; readonly now: () => number },
): Promise<void> {
  const atMs = now();
  if (lastUsedAtMs !== undefined && atMs - lastUsedAtMs < LAST_USE_GRANULARITY_MS) return;
  await registry.recordSecretUse(
    { registration, secretId, atMs, succeededEndAtMs: atMs + SUCCESSION_GRACE_MS },
    auditEvent({
      atMs,
      actor: clientActor(clientId),
      action: 'secret.first_use',
      caller,
      target: clientId,
    }),
  );
}
