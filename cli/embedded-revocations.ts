import type { RevocationSource } from '@fleetgate/broker';
import type { RunningIssuer } from '@fleetgate/issuer';

/** The revocations of an issuer in this process, for the broker beside it. */
export interface EmbeddedRevocations {
  readonly source: RevocationSource;
  /** Settles when the broker knows all that was revoked so far, or it is known that it cannot. */
  readonly told: Promise<void>;
}

export function embeddedRevocations({ revocations }: RunningIssuer): EmbeddedRevocations {
  const { promise: told, resolve } = Promise.withResolvers<void>();
  return {
    told,
    source: ({ revoke, current, away }) =>
      revocations.subscribe(revoke, {
        current() {
          current();
          resolve();
        },
        away() {
          away();
          resolve();
        },
      }),
  };
}
