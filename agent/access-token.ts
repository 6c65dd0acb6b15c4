import { inspect } from 'node:util';

/**
 * An access token and its times. The text is reached by `value` alone: printing, inspecting or serializing the
 * object shows its times and scope, never the token.
 */
export class AccessToken {
  readonly #value: string;
  /** When it expires, in milliseconds of the monotonic clock (`performance.now()`), not of the wall clock. */
  readonly expiresAtMs: number;
  /** When the next one is due, on the same clock; see `refreshDelayMs`. */
  readonly refreshAtMs: number;
  /** Lifetime the issuer gave it, in seconds. */
  readonly lifetimeSeconds: number;
  /** Space-separated; unset when the issuer did not say. */
  readonly scope: string | undefined;
  /** Of the span of its request, where there was one: what is done with it is in the same trace. */
  readonly traceparent: string | undefined;

  constructor(
    value: string,
    times: { expiresAtMs: number; refreshAtMs: number; lifetimeSeconds: number },
    scope?: string,
    traceparent?: string,
  ) {
    this.#value = value;
    this.expiresAtMs = times.expiresAtMs;
    this.refreshAtMs = times.refreshAtMs;
    this.lifetimeSeconds = times.lifetimeSeconds;
    this.scope = scope;
    this.traceparent = traceparent;
  }

  /** The token itself, a secret: for the `Authorization` header or the MQTT password. */
  get value(): string {
    return this.#value;
  }

  /** Whole seconds it may still be used, rounded down, at `nowMs` of the monotonic clock. */
  expiresInSeconds(nowMs: number = performance.now()): number {
    return Math.max(0, Math.floor((this.expiresAtMs - nowMs) / 1000));
  }

  toString(): string {
    return `AccessToken(expires in ${this.expiresInSeconds()} s)`;
  }

  toJSON(): { expires_in: number; scope?: string } {
    const expiresIn = { expires_in: this.expiresInSeconds() };
    return this.scope === undefined ? expiresIn : { ...expiresIn, scope: this.scope };
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
