import type { AccessToken } from './access-token.ts';
import type { TokenSource } from './token-source.ts';
import { unlessAborted, wait } from './waiting.ts';

export interface TokenRenewalOptions {
  signal: AbortSignal;
  /** Told of each failed attempt and when the next will be. */
  onFailure: (error: unknown, retryInMs: number) => void;
  /** Milliseconds of the clock the tokens were stamped with. Default `performance.now`. */
  now?: (() => number) | undefined;
}

/**
 * The token that follows `current`, asked for when `current` comes to its refresh point and again after each
 * failure, with the source's back-off. Without `current` it is asked for at once. `undefined` when stopped.
 */
export async function nextToken(
  source: TokenSource,
  current: AccessToken | undefined,
  options: TokenRenewalOptions,
): Promise<AccessToken | undefined> {
  const { signal, onFailure, now = () => performance.now() } = options;
  // Somebody else may have asked meanwhile, and sooner.
  const waitOrUntilReplaced = (ms: number) => wait(ms, AbortSignal.any([signal, source.replaced]));
  if (current !== undefined) await waitOrUntilReplaced(current.refreshAtMs - now());
  while (!signal.aborted) {
    // A failure of somebody else's request holds here too.
    await waitOrUntilReplaced(source.retryInMs);
    if (signal.aborted) return undefined;
    try {
      const token = await unlessAborted(source.renew(), signal);
      if (token === undefined) return undefined;
      if (token !== current) return token;
      await waitOrUntilReplaced(Math.max(1, token.refreshAtMs - now()));
    } catch (error) {
      if (signal.aborted) return undefined;
      onFailure(error, source.retryInMs);
      // Full jitter can be 0; an error that leaves no back-off must not spin.
      await waitOrUntilReplaced(Math.max(10, source.retryInMs));
    }
  }
  return undefined;
}

/** Calls `onToken` with a token and with each that follows it, until `signal`; `onToken` is awaited. */
export async function keepTokenFresh(
  source: TokenSource,
  onToken: (token: AccessToken) => void | Promise<void>,
  options: TokenRenewalOptions,
): Promise<void> {
  let current: AccessToken | undefined;
  while (!options.signal.aborted) {
    const token = await nextToken(source, current, options);
    if (token === undefined) return;
    await onToken(token);
    current = token;
  }
}
