import { createAttemptRate } from '@fleetgate/shared';
import { clientIdPattern, returnCodes } from './connect.ts';
import type { RefusalReason } from './refusal.ts';

export interface LoginRate {
  /** Whether a CONNECT is to be answered "come back later", asked before its token is verified. */
  mustWait(addressKey: string | undefined, clientId: string): boolean;
  /** How a CONNECT ended that did not have to wait: 0 or the return code it was refused with, and why. */
  note(addressKey: string | undefined, clientId: string, returnCode: number, reason?: RefusalReason): void;
  /** Why the last CONNECT of that client id from that address was refused, but for those that had to wait. */
  lastReason(addressKey: string | undefined, clientId: string): RefusalReason | undefined;
}

export interface LoginRateOptions {
  /** Milliseconds on the clock that cannot be set. */
  readonly monotonicMs: () => number;
  readonly maxPairs?: number;
}

/** Login back-off, by address and MQTT client id. */
export function createLoginRate(options: LoginRateOptions): LoginRate {
  const rate = createAttemptRate<RefusalReason>(options);
  return {
    mustWait: (addressKey, clientId) => rate.waitMs(addressKey, nameOf(clientId)) > 0,
    note(addressKey, clientId, returnCode, reason) {
      // Who was told to come back later has not failed.
      if (returnCode === returnCodes.unavailable) return;
      rate.note(addressKey, nameOf(clientId), returnCode === 0, reason);
    },
    lastReason: (addressKey, clientId) => rate.lastReason(addressKey, nameOf(clientId)),
  };
}

/**
 * `undefined` for an empty client id, which many devices of one address may have, and for one that is refused anyway,
 * which may be as long as a CONNECT: there is only the limit of the address.
 */
function nameOf(clientId: string): string | undefined {
  return clientIdPattern.test(clientId) ? clientId : undefined;
}
