import { FleetgateError } from '@fleetgate/shared';
import type { ClientRecord } from '../registry/registry.ts';
import { findSecret, isLiveSecret } from '../secrets.ts';
import type { Proof } from './client-auth.ts';

/** Whether `presented` is a live secret of the client. An ended one costs what a wrong one does. */
export function proveBySecret(presented: string, client: ClientRecord | undefined, atMs: number): Proof {
  const secret = findSecret(presented, client?.secrets ?? []);
  if (secret === undefined) return { isProven: false };
  if (isLiveSecret(secret, atMs)) return { isProven: true, secret };
  return { isProven: false, reason: secretEnded() };
}

/** For the audit trail; the client is not told. */
export const secretEnded = () => new FleetgateError('secret_expired', 'the secret has ended');
