import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from './administrative-act.ts';
import { adminActor, anonymousActor, auditEvent, type Caller } from './audit.ts';
import type { Administrator } from './clients.ts';
import { limitRecords } from './record-limit.ts';
import type { ApiKeyRecord } from './registry/api-keys.ts';
import type { Registry } from './registry/registry.ts';
import type { Role } from './roles.ts';

/** Name, in the audit trail, of the key in `admin.key`: it is no row of the registry, so it opens an empty one too. */
export const BOOTSTRAP_KEY_NAME = 'default';

/** Ours: a key for each script and person, and a list that needs no pages. */
const MAX_API_KEYS = 1000;

/** How long a key may be taken beside the one that replaced it: a week, to change it everywhere. */
export const MAX_OVERLAP_SECONDS = 604_800;

/** Longest lifetime of a key that expires. Ours: a later end is a mistake, such as milliseconds for seconds. */
const MAX_LIFETIME_MS = 10 * 365 * 86_400_000;

/** How often it is written that a key was used. Ours: a write for each request would cost more than the request. */
const TOUCH_INTERVAL_MS = 60_000;

/** The prefix lets a scanner for leaked secrets know one. */
const apiKeyPattern = /^fgk_[A-Za-z0-9_-]{43}$/;

export interface NewApiKey {
  readonly name: string;
  readonly role: Role;
  /** Default: it does not expire. */
  readonly expiresAtMs?: number | undefined;
}

export interface ApiKeyRotation {
  /** Default: as long from now as it was from when the key was made; of one that does not expire: not. */
  readonly expiresAtMs?: number | undefined;
  /** How long the old key is still taken. Default 0. */
  readonly overlapSeconds?: number | undefined;
}

export interface MadeApiKey {
  readonly key: ApiKeyRecord;
  /** Shown this once; only its hash is kept. */
  readonly secret: string;
}

/** What became of a key that was presented. */
export type PresentedKey =
  | { readonly outcome: 'accepted'; readonly name: string; readonly role: Role }
  | { readonly outcome: 'expired'; readonly name: string }
  | { readonly outcome: 'unknown' };

/** Named API keys with roles. Each act, done or refused, is in the audit trail before its promise settles. */
export interface ApiKeys {
  /** @throws FleetgateError `registry_conflict`, `invalid_request` */
  create(key: NewApiKey, by: Administrator): Promise<MadeApiKey>;
  /** Gives the key of that name another secret. @throws FleetgateError `api_key_unknown`, `invalid_request` */
  rotate(name: string, rotation: ApiKeyRotation, by: Administrator): Promise<MadeApiKey>;
  /** From now on it is refused. @throws FleetgateError `api_key_unknown` */
  delete(name: string, by: Administrator): Promise<void>;
  /** Ordered by name. */
  list(): Promise<readonly ApiKeyRecord[]>;
  find(name: string): Promise<ApiKeyRecord | undefined>;
  /** Whose key this is. Remembers, to the minute, that it was used. */
  present(secret: string): Promise<PresentedKey>;
  /**
   * Records that somebody was refused as an administrator: by whose key, if any, and why. Of keys that are not good 60 a
   * minute are recorded, as anybody can present them.
   */
  recordRefused(
    caller: Caller,
    keyName: string | undefined,
    code: 'api_key_invalid' | 'role_insufficient',
  ): Promise<void>;
}

export function openApiKeys(
  registry: Registry,
  now: () => number,
  random: (size: number) => Buffer = randomBytes,
): ApiKeys {
  const { event, recorded } = administrativeActs(registry, now);
  const isRecordDue = limitRecords();

  function generate(): { secret: string; hash: Uint8Array } {
    const secret = `fgk_${random(32).toString('base64url')}`;
    return { secret, hash: digest(secret) };
  }

  async function touch(name: string, lastUsedAtMs: number | undefined, atMs: number): Promise<void> {
    if (lastUsedAtMs !== undefined && atMs - lastUsedAtMs < TOUCH_INTERVAL_MS) return;
    try {
      await registry.touchApiKey(name, atMs);
    } catch {
      // What can be read is read all the same; an act that must be written fails by itself.
    }
  }

  return {
    create: ({ name, role, expiresAtMs }, by) =>
      recorded('api_key.create', name, by, async () => {
        if (!isIdentifier(name)) invalid('name must match [A-Za-z0-9._-]{1,64}');
        if (name === BOOTSTRAP_KEY_NAME)
          invalid(`${BOOTSTRAP_KEY_NAME} is the name of the key in admin.key; choose another`);
        const atMs = now();
        checkExpiry(expiresAtMs, atMs);
        const { secret, hash } = generate();
        const key: ApiKeyRecord = {
          name,
          role,
          hash,
          previous: undefined,
          createdAtMs: atMs,
          rotatedAtMs: atMs,
          expiresAtMs,
          lastUsedAtMs: undefined,
        };
        const outcome = await registry.createApiKey(key, MAX_API_KEYS, event(by, 'api_key.create', name));
        if (outcome === 'full') invalid(`there are ${MAX_API_KEYS} API keys; delete those no longer used`);
        if (outcome === 'taken') {
          throw new FleetgateError('registry_conflict', `an API key named '${name}' exists already`);
        }
        return { key, secret };
      }),
    rotate: (name, { expiresAtMs, overlapSeconds = 0 }, by) =>
      recorded('api_key.rotate', name, by, async () => {
        const old = isIdentifier(name) ? await registry.findApiKey(name) : undefined;
        if (old === undefined) throw unknownKey();
        const atMs = now();
        checkExpiry(expiresAtMs, atMs);
        if (overlapSeconds < 0 || overlapSeconds > MAX_OVERLAP_SECONDS) {
          invalid(`overlap_seconds must be from 0 to ${MAX_OVERLAP_SECONDS}`);
        }
        const { secret, hash } = generate();
        const untilMs = Math.min(atMs + overlapSeconds * 1000, old.expiresAtMs ?? Number.POSITIVE_INFINITY);
        const key: ApiKeyRecord = {
          ...old,
          hash,
          previous: untilMs > atMs ? { hash: old.hash, untilMs } : undefined,
          rotatedAtMs: atMs,
          expiresAtMs:
            expiresAtMs ??
            (old.expiresAtMs === undefined ? undefined : atMs + old.expiresAtMs - old.rotatedAtMs),
        };
        if (!(await registry.replaceApiKey(key, event(by, 'api_key.rotate', name)))) throw unknownKey();
        return { key, secret };
      }),
    delete: (name, by) =>
      recorded('api_key.delete', name, by, async () => {
        const done = event(by, 'api_key.delete', name);
        if (!isIdentifier(name) || !(await registry.deleteApiKey(name, done))) throw unknownKey();
      }),
    list: () => registry.listApiKeys(),
    find: async (name) => (isIdentifier(name) ? registry.findApiKey(name) : undefined),
    async present(secret) {
      if (!apiKeyPattern.test(secret)) return { outcome: 'unknown' };
      const hash = digest(secret);
      const key = await registry.findApiKeyByHash(hash);
      if (key === undefined) return { outcome: 'unknown' };
      const { name, role, previous, expiresAtMs = Number.POSITIVE_INFINITY } = key;
      const atMs = now();
      const untilMs = timingSafeEqual(hash, key.hash) ? expiresAtMs : (previous?.untilMs ?? 0);
      if (atMs >= untilMs) return { outcome: 'expired', name };
      await touch(name, key.lastUsedAtMs, atMs);
      return { outcome: 'accepted', name, role };
    },
    async recordRefused(caller, keyName, code) {
      const atMs = now();
      const isKeyGood = code === 'role_insufficient';
      if (!isKeyGood && !isRecordDue(atMs)) return;
      await registry.recordEvent(
        auditEvent({
          atMs,
          actor: keyName === undefined ? anonymousActor : adminActor(keyName),
          action: isKeyGood ? 'admin.authorize' : 'admin.authenticate',
          caller,
          result: code,
        }),
      );
    },
  };
}

function digest(secret: string): Uint8Array {
  return createHash('sha256').update(secret).digest();
}

const unknownKey = () => new FleetgateError('api_key_unknown', 'there is no such API key');

function checkExpiry(expiresAtMs: number | undefined, atMs: number): void {
  if (expiresAtMs === undefined) return;
  if (expiresAtMs <= atMs) invalid('expires_at must be in the future');
  if (expiresAtMs - atMs > MAX_LIFETIME_MS) {
    invalid('expires_at must be within 10 years, in seconds; a key without one does not expire');
  }
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
