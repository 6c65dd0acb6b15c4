import type { AccessTokenClaims, JsonWebKeySet, PublicJsonWebKey, SigningAlgorithm } from '@fleetgate/shared';
import { FleetgateError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type AuditEvent, issuerActor } from '../audit.ts';
import type { Registry } from '../registry/registry.ts';
import type { SigningKeySet, StoredSigningKey } from '../registry/signing-key-registry.ts';
import { repeat } from '../repeat.ts';
import type { NewRevocation, RecordedRevocation } from '../revocation.ts';
import type { KeyEncryption } from './key-encryption.ts';
import { type KeyActor, keyEvents } from './key-events.ts';
import { generateKey } from './key-pair.ts';
import {
  afterActs,
  byState,
  dueActs,
  type KeyAct,
  type NewKey,
  type RotationPolicy,
  startActs,
} from './lifecycle.ts';
import { compactSigner, type Signer, type TokenVerifier, verifiersOf } from './signature.ts';

/**
 * Between two looks for what is due, and for what another process on the same database has done: it signs with the new
 * key within a second.
 */
const LOOK_INTERVAL_MS = 500;

/** Changes of other processes that one change gives way to. */
const MAX_TRIES = 20;

export interface SigningKeysOptions {
  readonly registry: Registry;
  /** Opened with whether there are keys already, which it must decrypt. */
  readonly openEncryption: (isNeeded: boolean) => KeyEncryption;
  readonly algorithm: SigningAlgorithm;
  readonly policy: RotationPolicy;
  readonly now: () => number;
  readonly log?: Logger | undefined;
}

/** Claims as a compact JWS, with the `kid` of the key. */
export interface SignedClaims {
  readonly token: string;
  readonly keyId: string;
}

export interface SigningKeys {
  /**
   * Signs by the active key, as far as this process knows.
   * @throws FleetgateError `key_file_invalid` when another process has made a key that does not decrypt here
   */
  sign(claims: AccessTokenClaims): Promise<SignedClaims>;
  /** The published key that makes tokens with this first part; unset for none. */
  verifierOf(encodedHeader: string): TokenVerifier | undefined;
  /** All public keys as they were read last. */
  jwks(): JsonWebKeySet;
  /** Takes over what another process on this database has done. */
  reload(): Promise<void>;
  /** Does what is due by the policy; a timer does so twice a second. */
  maintain(): Promise<void>;
  /**
   * Does in one act what `decide` makes of the keys there are. It is asked again when another process came first.
   * @throws FleetgateError `registry_unavailable`, `key_unknown` for a revocation of none, and whatever `decide` throws
   */
  change(asked: AskedChange): Promise<KeysChanged>;
  /** Waits for what is being done, and does no more. */
  close(): Promise<void>;
}

export interface AskedChange {
  readonly decide: (keys: readonly StoredSigningKey[], nowMs: number) => readonly KeyAct[];
  readonly by: KeyActor;
  readonly revocation?: NewRevocation & { readonly kind: 'key' };
  /** What the audit trail says besides the steps of the keys. */
  readonly event?: AuditEvent;
}

export interface KeysChanged {
  readonly acts: readonly KeyAct[];
  /** All keys afterwards. */
  readonly keys: readonly StoredSigningKey[];
  readonly revocation?: { readonly revocation: RecordedRevocation; readonly isRepeated: boolean };
}

/**
 * The signing keys of the registry, followed and kept in rotation. The first start makes them; a start with another
 * algorithm publishes a key for it, which signs when verifiers have it.
 * @throws FleetgateError `key_file_invalid`, `registry_unavailable`
 */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { registry, algorithm, policy, now, log } = options;
  let current: SigningKeySet = { revision: -1, keys: [] };
  let published: JsonWebKeySet = { keys: [] };
  let verifiers: ReadonlyMap<string, TokenVerifier> = new Map();
  let signer: { readonly keyId: string; readonly sign: Signer } | undefined;
  let isFailing = false;

  const first = await registry.signingKeys();
  const encryption = options.openEncryption(first.keys.length > 0);

  function take(set: SigningKeySet): void {
    // Of two reads the later may be answered first.
    if (set.revision <= current.revision) return;
    current = set;
    published = publicKeys(set.keys);
    verifiers = verifiersOf(set.keys);
    const { active } = byState(set.keys);
    if (active === undefined || active.kid === signer?.keyId) return;
    signer = undefined;
    signer = { keyId: active.kid, sign: signerOf(active) };
    log?.info({ event: 'signing_key_active', kid: active.kid, algorithm: active.algorithm }, 'signing key');
  }

  function signerOf(active: StoredSigningKey): Signer {
    const { encryptedPrivateJwk = new Uint8Array(), kid } = active;
    return compactSigner(active, encryption.decrypt(encryptedPrivateJwk, kid));
  }

  const reload = oneAtATime(async () => {
    if ((await registry.signingKeyRevision()) !== current.revision) take(await registry.signingKeys());
  });

  async function change({ decide, by, revocation, event }: AskedChange): Promise<KeysChanged> {
    const made: NewKey[] = [];
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const set = await registry.signingKeys();
      const atMs = now();
      const acts = decide(set.keys, atMs);
      if (acts.length === 0 && revocation === undefined) {
        take(set);
        return { acts, keys: set.keys };
      }
      const keyFor = await newKeys(acts, made);
      const changed = await registry.changeSigningKeys({
        revision: set.revision,
        atMs,
        ...afterActs(set.keys, acts, atMs, keyFor),
        revocation,
        events: [...(event === undefined ? [] : [event]), ...keyEvents(acts, set.keys, { atMs, by, keyFor })],
      });
      if (changed.outcome === 'already') {
        return { acts: [], keys: set.keys, revocation: { revocation: changed.revocation, isRepeated: true } };
      }
      if (changed.outcome === 'outdated') continue;
      if (changed.outcome === 'key_unknown') unknownKey();
      take(changed.set);
      return {
        acts,
        keys: changed.set.keys,
        ...(changed.revocation && { revocation: { revocation: changed.revocation, isRepeated: false } }),
      };
    }
    throw new FleetgateError('registry_unavailable', 'other processes keep changing the signing keys');
  }

  /** A key for each act that needs one, out of those that were made for a try before. */
  async function newKeys(acts: readonly KeyAct[], made: NewKey[]): Promise<(act: KeyAct) => NewKey> {
    const unused = [...made];
    const keys = new Map<KeyAct, NewKey>();
    for (const act of acts) {
      if (act.kind !== 'publish' && act.kind !== 'replace') continue;
      const index = unused.findIndex((key) => key.algorithm === act.algorithm);
      const [key = await generateKey(act.algorithm, encryption)] = index < 0 ? [] : unused.splice(index, 1);
      if (index < 0) made.push(key);
      keys.set(act, key);
    }
    return (act) => keys.get(act) as NewKey;
  }

  const byIssuer = { actor: issuerActor };
  const due = (keys: readonly StoredSigningKey[], nowMs: number) => dueActs(keys, nowMs, policy);

  async function maintain(): Promise<void> {
    await reload();
    if (due(current.keys, now()).length > 0) await change({ decide: due, by: byIssuer });
  }

  await change({ decide: (keys) => startActs(keys, algorithm), by: byIssuer });
  await maintain();

  const stop = repeat(LOOK_INTERVAL_MS, async () => {
    try {
      await maintain();
      isFailing = false;
    } catch (error) {
      if (!isFailing)
        log?.error(
          { event: 'key_rotation_failed', err: error },
          'the signing keys cannot be kept in rotation',
        );
      isFailing = true;
    }
  });

  return {
    async sign(claims) {
      if (signer === undefined) {
        throw new FleetgateError(
          'key_file_invalid',
          'the active signing key does not decrypt; give all processes on this database the same encryption key',
        );
      }
      const { keyId, sign } = signer;
      return { token: await sign(claims), keyId };
    },
    verifierOf: (encodedHeader) => verifiers.get(encodedHeader),
    jwks: () => published,
    reload,
    maintain,
    change,
    close: stop,
  };
}

/**
 * The act so that it runs once at a time: who asks while it runs waits for the next run, which all of them share. What
 * it sees is never from before it was asked for.
 */
function oneAtATime(act: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;

  function run(): Promise<void> {
    if (running === undefined) {
      running = act().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        return run();
      });
    return next;
  }

  return run;
}

/** @throws FleetgateError `key_unknown` */
export function unknownKey(): never {
  throw new FleetgateError(
    'key_unknown',
    'there is no signing key with this kid; those there are: fleetgate keys list',
  );
}

function publicKeys(keys: readonly StoredSigningKey[]): JsonWebKeySet {
  return {
    keys: keys.map(
      ({ kid, algorithm, publicJwk }) =>
        ({ ...publicJwk, kid, alg: algorithm, use: 'sig' }) as PublicJsonWebKey,
    ),
  };
}
