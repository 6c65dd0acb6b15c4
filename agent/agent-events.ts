import type { FailureKind } from './refresh-policy.ts';

/** What an agent is doing. */
export type AgentPhase = 'idle' | 'connecting' | 'connected' | 'stopped';

/** What an agent tells. No event holds a token or a payload. */
export interface AgentEvents {
  /** Connected after a start or an interruption. */
  connected: [{ sessionPresent: boolean }];
  /** The connection that was there is gone. `retryInMs` is unset when the agent ended it. */
  disconnected: [{ reason: string; retryInMs?: number }];
  /**
   * The session goes on with the next token: on the same connection where the broker offers that (`inPlace`), else on a
   * new one.
   */
  renewed: [{ expiresInSeconds: number; scope?: string; inPlace: boolean }];
  /**
   * The broker refused CONNECT with this return code (MQTT 3.1.1 §3.2.2.3): 4, the token (a new one is fetched at
   * once, and after that with back-off); 2, the client id; 5, not allowed; 3, come back later. `isPermanent` when
   * only a change of credentials, registration or policy helps; it is tried again all the same, rarely.
   */
  refused: [{ returnCode: number; isPermanent: boolean; retryInMs: number }];
  /** The broker could not be reached, or closed the connection before the session was up. */
  unreachable: [{ reason: string; retryInMs: number }];
  /** A new token is in use. */
  token: [{ expiresInSeconds: number; scope?: string }];
  /**
   * No new token; one that is still valid stays in use. `error` has a `code`. `kind` is `transient` when it passes by
   * itself, `refused` when somebody has to change something, `dead` when that is the credential: it is asked for
   * rarely then.
   */
  token_failed: [{ error: unknown; kind: FailureKind; retryInMs: number }];
  /** A subscription that had been granted was refused after a reconnect. */
  subscription_lost: [{ filter: string }];
  /** A message handler threw or rejected. */
  handler_failed: [{ filter: string; error: unknown }];
  /** A message came for which there is no handler. */
  unhandled: [{ topic: string }];
  /** The file of the queue cannot be written, or was damaged: until it can, messages are in memory only. */
  queue_problem: [{ problem: string }];
  /** The agent has ended; `error` is set when it failed by a mistake of its own. */
  stopped: [{ error?: unknown }];
}
