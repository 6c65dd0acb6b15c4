import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { uptime } from 'node:os';
import { type Credentials, FleetgateError, MAX_TOKEN_LENGTH } from '@fleetgate/shared';
import { writeFileAtomically } from './sinks/file.ts';
import { readPrivateFile } from './store.ts';

/** A token as it was given out, and how old it is. */
export interface KeptToken {
  readonly value: string;
  readonly scope: string | undefined;
  readonly lifetimeSeconds: number;
  readonly ageMs: number;
}

/** Keeps the token over restarts, so that a device that restarts while the issuer is away connects at once. */
export interface TokenCache {
  /** The token in the file if it is of these credentials and has not expired. Never rejects. */
  read(): Promise<KeptToken | undefined>;
  /** Writes it in the order of the calls. Never rejects: without a disk the token is good all the same. */
  write(token: KeptToken): Promise<void>;
  /** Deletes the file: the token was refused. Never rejects. */
  forget(): Promise<void>;
}

/** Two clocks: one that may be set, and one that counts from the start of the machine, if there is such a one. */
export interface CacheClock {
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Which start of the machine this is, and the time since. Unset where it cannot be told. */
  boot(): { readonly id: string; readonly uptimeMs: number } | undefined;
}

interface CacheFile {
  readonly version: 1;
  /** Whose it is. */
  readonly owner: string;
  readonly access_token: string;
  readonly scope?: string;
  readonly lifetime_seconds: number;
  /** When it was asked for. */
  readonly asked_at_ms: number;
  readonly boot?: { readonly id: string; readonly uptime_ms: number };
}

/** @param onProblem is told why the file is not used or not written; never what is in it */
export function openTokenCache(
  file: string,
  credentials: Credentials,
  {
    onProblem = () => {},
    clock = systemClock,
  }: { onProblem?: (problem: string) => void; clock?: CacheClock } = {},
): TokenCache {
  const owner = ownerOf(credentials);
  let writing: Promise<void> = Promise.resolve();

  /** One after the other, so that the newest stays. */
  function inTurn(act: () => Promise<void>): Promise<void> {
    writing = writing.then(act).catch((error: NodeJS.ErrnoException) => {
      onProblem(`the token cache ${file} cannot be written (${error.code ?? error.message})`);
    });
    return writing;
  }

  return {
    async read() {
      let text: string;
      try {
        text = (await readPrivateFile(file)).toString('utf8');
      } catch (error) {
        // There is none at the first start.
        if (!(error instanceof FleetgateError) || !error.message.endsWith('does not exist')) {
          onProblem(`the token cache is not used: ${(error as Error).message}`);
        }
        return undefined;
      }
      const kept = parse(text);
      if (kept === undefined) onProblem(`the token cache is not used: ${file} holds something else`);
      // Of another device, or asked for otherwise: no fault, and overwritten soon.
      if (kept?.owner !== owner) return undefined;
      const ageMs = ageOf(kept, clock);
      if (ageMs === undefined || ageMs >= kept.lifetime_seconds * 1000) return undefined;
      return { value: kept.access_token, scope: kept.scope, lifetimeSeconds: kept.lifetime_seconds, ageMs };
    },
    write: ({ value, scope, lifetimeSeconds, ageMs }) => {
      const boot = clock.boot();
      const content: CacheFile = {
        version: 1,
        owner,
        access_token: value,
        ...(scope === undefined ? {} : { scope }),
        lifetime_seconds: lifetimeSeconds,
        asked_at_ms: clock.wallMs() - ageMs,
        ...(boot === undefined ? {} : { boot: { id: boot.id, uptime_ms: boot.uptimeMs - ageMs } }),
      };
      return inTurn(() => writeFileAtomically(file, `${JSON.stringify(content)}\n`));
    },
    forget: () => inTurn(() => rm(file, { force: true })),
  };
}

/**
 * Since the same start of the machine by the clock that is never set; over a restart by the wall clock. Unset when that
 * was set back since: nobody knows by how much.
 */
function ageOf({ asked_at_ms: askedAtMs, boot: before }: CacheFile, clock: CacheClock): number | undefined {
  const boot = clock.boot();
  const ageMs =
    boot !== undefined && boot.id === before?.id
      ? boot.uptimeMs - before.uptime_ms
      : clock.wallMs() - askedAtMs;
  return ageMs >= 0 ? ageMs : undefined;
}

/** All that decides which token is asked for. */
function ownerOf({ issuer, client_id, token_endpoint, scope, audience, auth }: Credentials): string {
  const asked = [issuer, client_id, token_endpoint ?? null, scope ?? null, audience ?? null, auth.method];
  return createHash('sha256').update(JSON.stringify(asked)).digest('base64url');
}

function parse(text: string): CacheFile | undefined {
  let value: Partial<Record<keyof CacheFile, unknown>>;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const {
    version,
    owner,
    access_token: token,
    scope,
    lifetime_seconds: lifetime,
    asked_at_ms: asked,
    boot,
  } = value;
  const isToken = typeof token === 'string' && token !== '' && token.length <= MAX_TOKEN_LENGTH;
  const isWhole =
    version === 1 &&
    typeof owner === 'string' &&
    isToken &&
    (scope === undefined || typeof scope === 'string') &&
    Number.isSafeInteger(lifetime) &&
    Number.isFinite(asked) &&
    (boot === undefined || isBoot(boot));
  return isWhole ? (value as unknown as CacheFile) : undefined;
}

function isBoot(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { id, uptime_ms: uptimeMs } = value as Record<string, unknown>;
  return typeof id === 'string' && Number.isFinite(uptimeMs);
}

const systemClock: CacheClock = {
  wallMs: Date.now,
  boot() {
    const id = bootId();
    // CLOCK_BOOTTIME: time asleep counts.
    return id === undefined ? undefined : { id, uptimeMs: uptime() * 1000 };
  },
};

/** Linux gives each start of the machine one, see random(4). */
function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
