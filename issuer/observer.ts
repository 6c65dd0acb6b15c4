import { OAuthError } from '@fleetgate/shared';
import type { TokenIntrospector } from './introspect-token.ts';
import type { TokenIssuer } from './issue.ts';
import type { KeyView } from './keys/key-administration.ts';
import { recordedReason } from './refusal.ts';
import type { RegistryCounts, RegistryLoad } from './registry/registry.ts';
import type { TokenRevoker } from './revoke-token.ts';

/** What clients ask of the issuer. */
export type ObservedAct = 'issue' | 'introspect' | 'revoke';

/** Where requests come in over HTTP. */
export type Listener = 'public' | 'admin';

/** Is told of each request, and must neither throw nor wait. Of all apps together; nothing it is told names a client. */
export interface IssuerObserver {
  /** Called once, at the start, with what it may ask at any time. */
  watch(state: IssuerState): void;
  /** @param result `ok`, or the reason code that the audit trail has; `slow_down` is not in it each time */
  request(act: ObservedAct, result: string, seconds: number): void;
  /**
   * A request over HTTP was refused, also one that was none of these acts; or a connection, which gets no answer.
   * @param reason as in the log
   */
  refused(listener: Listener, status: number | 'none', reason: string): void;
}

/** Read when asked; each call looks into the registry of every app. */
export interface IssuerState {
  /** Of the default app, then of each other one. Never rejects. */
  figures(): Promise<readonly [AppFigures, ...AppFigures[]]>;
  /** Milliseconds since 1970. */
  now(): number;
}

/** What an app is like at the moment. */
export interface AppFigures {
  /** Whether its registry can be read and written. */
  readonly isReady: boolean;
  readonly load: RegistryLoad;
  /** Readers of `GET /revocations`. */
  readonly feedReaders: number;
  /** The active key, the next one, then the retired. Unset where the registry cannot be read. */
  readonly keys: readonly KeyView[] | undefined;
  /** Unset where the registry cannot be read. */
  readonly counts: RegistryCounts | undefined;
}

type Acts = TokenIssuer & TokenIntrospector & TokenRevoker;

/** The acts of clients, told to the observer. */
export function observeRequests(acts: Acts, observer: IssuerObserver, monotonicMs: () => number): Acts {
  const observed =
    <Request, Answer>(act: ObservedAct, of: (request: Request) => Promise<Answer>) =>
    async (request: Request): Promise<Answer> => {
      const startMs = monotonicMs();
      const tell = (result: string) => observer.request(act, result, (monotonicMs() - startMs) / 1000);
      try {
        const answer = await of(request);
        tell('ok');
        return answer;
      } catch (error) {
        tell(reasonOf(error));
        throw error;
      }
    };

  return {
    ...acts,
    async refuse(error, caller, action = 'token.issue') {
      const refuse = observed(actOf(action), () => acts.refuse(error, caller, action));
      return await refuse(undefined);
    },
    issue: observed('issue', acts.issue),
    introspectToken: observed('introspect', acts.introspectToken),
    revokeToken: observed('revoke', acts.revokeToken),
  };
}

/** The code of a refusal; of one that nobody expected `server_error`. */
export function reasonOf(error: unknown): string {
  return error instanceof OAuthError ? recordedReason(error) : 'server_error';
}

/** What a client asked for by an action of the audit trail. */
export function actOf(action: string): ObservedAct {
  if (action === 'token.introspect') return 'introspect';
  return action === 'token.revoke' ? 'revoke' : 'issue';
}
