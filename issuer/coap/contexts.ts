import { putBounded, type SecurityContext } from '@fleetgate/shared';
import type { ProvenDevice } from '../fleet/device-identity.ts';
import type { KeyEncryption } from '../keys/key-encryption.ts';
import type { ContextVault, StoredContext } from '../oscore-context.ts';
import type { Registry } from '../registry/registry.ts';
import { enrollmentContexts } from './enrollment-contexts.ts';

/** A context, and whose it is. */
export interface DeviceContext {
  /** Names it among all; begins with the device's sender id, in hexadecimal. */
  readonly contextId: string;
  readonly context: SecurityContext;
  readonly of: ContextOwner;
}

/** A client that was given the context, or a device that is not in yet. */
export type ContextOwner =
  | {
      readonly kind: 'client';
      readonly clientId: string;
      /** Names it among those of its client. */
      readonly secretId: string;
    }
  | ({ readonly kind: 'enrollment' } & ProvenDevice);

/** The contexts by what requests name them by. */
export interface DeviceContexts {
  /** Whether other issuers may serve the same devices, each with a memory of its own of what it has served. */
  isShared(): boolean;
  /**
   * @param kid the device's sender id
   * @param kidContext the registration id of a device that enrolls; no client's has one
   * @throws FleetgateError `registry_unavailable`, `key_file_invalid`
   */
  find(kid: Uint8Array, kidContext: Uint8Array | undefined): Promise<DeviceContext | undefined>;
  /**
   * A sequence number for a message of the issuer's own: never one that was given before, in this process or another,
   * before a restart or after.
   */
  nextSequenceNumber(): Promise<number>;
}

/** Contexts whose keys are remembered: 5 MB. */
const MAX_OPENED = 10_000;

/** Numbers that are reserved at once: a challenge takes one. */
const BLOCK = 1000;

/** 2020-01-01, in milliseconds since 1970. */
const BEGIN_MS = 1_577_836_800_000;

export function deviceContexts(
  registry: Pick<Registry, 'isShared' | 'findContext' | 'findEnrollmentStarting' | 'reserveSequenceNumbers'>,
  vault: ContextVault,
  encryption: KeyEncryption,
  now: () => number,
): DeviceContexts {
  const findEnrolling = enrollmentContexts(registry, encryption);
  const opened = new Map<string, { readonly encrypted: Uint8Array; readonly context: SecurityContext }>();
  let next = 0;
  let reservedUntil = 0;
  let reserving: Promise<void> | undefined;

  async function reserve(): Promise<void> {
    // With the clock, so that a database that was restored from a backup gives no number twice.
    next = await registry.reserveSequenceNumbers(BLOCK, Math.max(0, now() - BEGIN_MS));
    reservedUntil = next + BLOCK;
  }

  /** Deriving the keys takes as long as all else of a request. */
  function open(contextId: string, { kid, encrypted }: StoredContext): SecurityContext {
    const known = opened.get(contextId);
    if (known !== undefined && Buffer.compare(known.encrypted, encrypted) === 0) return known.context;
    // A copy: what came from outside is a view of a datagram.
    const context = vault.open({ kid: Uint8Array.from(kid), encrypted });
    putBounded(opened, contextId, { encrypted, context }, MAX_OPENED);
    return context;
  }

  return {
    isShared: () => registry.isShared(),
    async find(kid, kidContext) {
      if (kidContext !== undefined) return findEnrolling(kid, kidContext);
      // Not the client with it, which is read when the token is issued, by who decides about it.
      const found = await registry.findContext(kid);
      if (found === undefined) return undefined;
      const { clientId, secretId, context } = found;
      const contextId = Buffer.from(kid).toString('hex');
      return { contextId, context: open(contextId, context), of: { kind: 'client', clientId, secretId } };
    },
    async nextSequenceNumber() {
      while (next >= reservedUntil) {
        reserving ??= reserve().finally(() => {
          reserving = undefined;
        });
        await reserving;
      }
      next += 1;
      return next - 1;
    },
  };
}
