import type { Core } from './core.ts';
import type { Protocol } from './protocol.ts';

/** One connection with a session, as it is now. Holds no token. */
export interface LiveSession {
  /** Its MQTT client id. */
  readonly id: string;
  readonly clientId: string;
  readonly issuer: string;
  /** `jti` of its token. */
  readonly tokenId: string;
  readonly expiresAtSeconds: number;
  /** Moment of CONNECT. */
  readonly startedAtMs: number;
  readonly filters: readonly string[];
  /** Whether it outlives its connection (clean session 0). */
  readonly isKept: boolean;
  readonly address: string | undefined;
  readonly protocol: Protocol;
}

export function* liveSessions({ sessions }: Core, clientId: string | undefined): Generator<LiveSession> {
  for (const { client, connection, token, startedAtMs, filters } of sessions.live.values()) {
    if (clientId !== undefined && token.clientId !== clientId) continue;
    const { issuer, tokenId, expiresAtSeconds } = token;
    const { address, protocol } = connection;
    yield {
      id: client.id,
      clientId: token.clientId,
      issuer,
      tokenId,
      expiresAtSeconds,
      startedAtMs,
      filters: Array.from(filters),
      isKept: !client.clean,
      address,
      protocol,
    };
  }
}
