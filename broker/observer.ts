import type { Protocol } from './protocol.ts';
import type { RefusalReason } from './refusal.ts';
import type { Revocation } from './revocation.ts';

/** What is decided by the policy, one attempt at a time; `packet` is one that broke the protocol, never allowed. */
export type DecidedAction = 'publish' | 'will' | 'subscribe' | 'receive' | 'packet';

/** `accepted`, or why not. */
export type Outcome = 'accepted' | RefusalReason;

/**
 * What the plugin tells whoever counts: no client, topic or address, only values of small closed sets, so that
 * counters by them stay few. Called synchronously, for each message too, so it should do no more than add. What it
 * throws is logged and otherwise ignored.
 */
export interface Observer {
  /** Once, before all else: what can be read at any time. */
  watch(state: BrokerState): void;
  /**
   * A CONNECT was answered, or a connection closed before it could be; `gone` of a client that left meanwhile by itself.
   * `protocol` where the listener is known.
   */
  connect(result: Outcome | 'gone', protocol: Protocol | undefined): void;
  decision(action: DecidedAction, result: 'allowed' | RefusalReason): void;
  /** A token was verified, or refused by the verifier, also one from its cache. */
  verification(seconds: number): void;
  renewal(result: Outcome): void;
  /** `unknown`: of a kind that this version does not know, and takes as one of everything. */
  revocation(kind: Revocation['kind'] | 'unknown'): void;
  /** A session was ended by the broker. */
  sessionCut(reason: RefusalReason): void;
  /** A message for a session was given up, though it was allowed. */
  dropped(reason: RefusalReason): void;
}

/** Read when asked; each call walks what it tells of. */
export interface BrokerState {
  /** Open sockets by protocol, sessions or not. */
  connections(): ReadonlyMap<Protocol, number>;
  /** Seconds until the token of each session expires. */
  secondsToExpiry(): Iterable<number>;
  /** Issuers whose revocations are followed, and whether the source is away at the moment. */
  revocationFeeds(): Iterable<{ readonly issuer: string; readonly isAway: boolean }>;
  /** Whether the Redis of several brokers is away, and how often it was lost; `undefined` without one. */
  cluster(): { readonly isAway: boolean; readonly losses: number } | undefined;
  /** Of the cache of verified tokens and the keys; `undefined` where the verifier has none. */
  tokens(): TokenStats | undefined;
}

/** Totals since the start, but for `size`. */
export interface TokenStats {
  readonly hits: number;
  readonly misses: number;
  /** Tokens in the cache now. */
  readonly size: number;
  /** Fetches of issuers' keys, failed ones among them. */
  readonly keyFetches: number;
  readonly keyFetchFailures: number;
}

function ignore(): void {}

/** Counts nothing, and costs a call that does nothing. */
export const silentObserver: Observer = Object.freeze({
  watch: ignore,
  connect: ignore,
  decision: ignore,
  verification: ignore,
  renewal: ignore,
  revocation: ignore,
  sessionCut: ignore,
  dropped: ignore,
});
