import type { Revocation } from './revocation.ts';

/** What a source of revocations tells. */
export interface RevocationListener {
  revoke(revocation: Revocation): void;
  /** From here on all that was revoked so far has been told, and what is revoked will be told as it happens. */
  current(): void;
  /** What is revoked from now on may not be told. */
  away(): void;
}

/** Begins to tell an issuer's revocations, those that still matter first; what it gives back ends that. */
export type RevocationSource = (listener: RevocationListener) => () => void;

/** How an issuer's revocations come in, and what to do while they do not. */
export interface RevocationFeedOptions {
  readonly source: RevocationSource;
  /** Seconds the source may be away before the broker is no longer ready. Default 60. */
  readonly maxAwaySeconds?: number;
  /** Whether new connections with tokens of this issuer are refused while it is away for longer. Default false. */
  readonly refuseWhenAway?: boolean;
}

export interface RevocationFeed {
  readonly issuer: string;
  /** Whether what is revoked now may not be told. */
  isAway(): boolean;
  /** Away for longer than it may be. */
  isOverdue(): boolean;
  /** Whether a new connection must be refused: what was revoked is not known, and that was asked for. */
  mustRefuse(): boolean;
  stop(): void;
}

/** Follows one source, and how long it has been away. */
export function followRevocations(
  issuer: string,
  options: RevocationFeedOptions,
  revoke: (revocation: Revocation) => void,
  monotonicMs: () => number,
): RevocationFeed {
  const { source, maxAwaySeconds = 60, refuseWhenAway = false } = options;
  let awaySinceMs: number | undefined = monotonicMs();
  let wasCurrent = false;
  const isOverdue = () => awaySinceMs !== undefined && monotonicMs() - awaySinceMs > maxAwaySeconds * 1000;
  const stop = source({
    revoke,
    current() {
      awaySinceMs = undefined;
      wasCurrent = true;
    },
    away() {
      awaySinceMs ??= monotonicMs();
    },
  });
  return Object.freeze({
    issuer,
    isAway: () => awaySinceMs !== undefined,
    isOverdue,
    mustRefuse: () => refuseWhenAway && (!wasCurrent || isOverdue()),
    stop,
  });
}
