import { createVerifier, MAX_TOKEN_LIFETIME_SECONDS, type VerifyToken } from '@fleetgate/verifier';
import { createGate, type Gate } from './admission.ts';
import { type Authority, createAuthority } from './authority.ts';
import { type Attempt, type Decision, decide, refused } from './authorization/decide.ts';
import { brokerState } from './broker-state.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { ConnectCheck } from './connect.ts';
import { createDeadlines, type Deadlines } from './deadlines.ts';
import {
  type Guard,
  type GuardContext,
  type GuardsByPart,
  guardsByPart,
  type Installed,
} from './guard/guard.ts';
import { createLoginRate, type LoginRate } from './login-rate.ts';
import type { TokenStats } from './observer.ts';
import type { Settings } from './options.ts';
import { logQuietly, presentedClientId, type Refusal, type Report } from './refusal.ts';
import { createReports, type Reports } from './reports.ts';
import { createRevocations, type Revocations } from './revocation.ts';
import type { RevocationFeed } from './revocation-source.ts';
import { createSessions, type Session, type Sessions } from './session.ts';
import { tokenIssuerOf } from './trusted-issuer.ts';

/** What a test may leave out to see that it is needed. There is no such option for users. */
export interface Parts {
  readonly guards: readonly Guard[];
  readonly connectChecks: readonly ConnectCheck[];
  /** Where sessions are known to other brokers too; default: here alone. */
  readonly cluster?: Pick<Cluster, 'kept' | 'isUp' | 'losses'>;
}

/** What the parts of one plugin share. */
export interface Core {
  readonly settings: Settings;
  readonly guards: GuardsByPart;
  readonly connectChecks: readonly ConnectCheck[];
  readonly sessions: Sessions;
  readonly gate: Gate;
  readonly authority: Authority;
  readonly revocations: Revocations;
  /** Where those come from, by issuer; begun by `attach`. */
  readonly feeds: Map<string, RevocationFeed>;
  readonly loginRate: LoginRate;
  /** Of sessions, on the clock tokens are judged by. */
  readonly expiries: Deadlines;
  /** Of connections without a session, on the clock that cannot be set. */
  readonly connectDeadlines: Deadlines;
  /** Milliseconds on that clock. */
  readonly monotonicMs: () => number;
  readonly reports: Reports;
  /** Of those, the refusals. */
  readonly report: Report;
  /** The same, with client, address and protocol filled in from the host's client. */
  readonly reportOf: (client: object | null, refusal: Omit<Refusal, 'address' | 'protocol'>) => void;
  /** Of the verifier, where it counts. */
  readonly tokenStats: (() => TokenStats) | undefined;
  /** Logs what nobody expected. */
  readonly onError: (error: unknown) => void;
  /**
   * The one way from a hook to a decision. Whoever has no session of ours has no principal, whatever the host's
   * client object says; what is thrown on the way denies.
   */
  readonly rule: (client: object | null, attempt: Attempt, isWill?: boolean) => Decision;
  /** Has the issuer asked about the token of a session from now on, where that is set up; the text of it is given. */
  watchToken: (session: Session, text: Uint8Array) => void;
  /** What guards do for each message; filled by `attach`. */
  readonly installed: {
    readonly deliver: NonNullable<Installed['deliver']>[];
    readonly retain: NonNullable<Installed['retain']>[];
    readonly withheld: NonNullable<Installed['withheld']>[];
    publish: Installed['publish'];
  };
  /** Set by `attach`; until then everything is refused. */
  guardContext: GuardContext | undefined;
  /** Set by `close`; from then on everything is refused. */
  isClosed: boolean;
}

export function createCore(settings: Settings, parts: Parts): Core {
  const { limits, log, now } = settings;
  const sessions = createSessions(parts.cluster?.kept);
  const revocations = createRevocations({ ...settings, maxLifetimeSeconds: MAX_TOKEN_LIFETIME_SECONDS });
  const reports = createReports(settings, sessions);
  const report = reports.refused;
  const onError = (error: unknown) => logQuietly(log, error);
  const monotonicMs = () => performance.now();
  const verifier = createVerifier({ ...settings, issuers: settings.issuers.map(tokenIssuerOf), monotonicMs });

  function rule(client: object | null, attempt: Attempt, isWill = false): Decision {
    try {
      const session = client === null || core.isClosed ? undefined : sessions.byClient.get(client);
      // A will is judged as of CONNECT: a session that ends at its expiry still leaves it.
      const atMs = isWill && session !== undefined ? session.startedAtMs : now();
      return decide(session?.principal, attempt, atMs);
    } catch (error) {
      onError(error);
      return refused.internal_error;
    }
  }

  function reportOf(client: object | null, refusal: Omit<Refusal, 'address' | 'protocol'>): void {
    const session = client === null ? undefined : sessions.byClient.get(client);
    const connection =
      session?.connection ?? (client === null ? undefined : sessions.connections.get(client));
    const from = { address: connection?.address, protocol: connection?.protocol };
    // A topic is logged only of someone we know.
    const { topic, ...rest } = refusal;
    if (session === undefined) {
      const presented = presentedClientId(connection?.connect);
      const isNew = presented !== undefined && presented !== rest.clientId;
      report({ ...rest, ...(isNew && { presentedClientId: presented }), ...from });
    } else {
      const { clientId, tokenId } = session.principal;
      report({ ...rest, topic, clientId, tokenId, ...from });
    }
  }

  const core: Core = {
    settings,
    guards: guardsByPart(parts.guards),
    connectChecks: parts.connectChecks,
    sessions,
    gate: createGate(limits),
    revocations,
    feeds: new Map(),
    authority: createAuthority(
      settings.observer === undefined ? verifier : timed(verifier, reports.verified),
      revocations,
      settings,
    ),
    loginRate: createLoginRate({ monotonicMs }),
    expiries: createDeadlines({ now, onError }),
    connectDeadlines: createDeadlines({ now: monotonicMs, onError }),
    monotonicMs,
    reports,
    report,
    reportOf,
    tokenStats: verifier.stats,
    onError,
    rule,
    watchToken: () => {},
    installed: { deliver: [], retain: [], withheld: [], publish: undefined },
    guardContext: undefined,
    isClosed: false,
  };
  settings.observer?.watch(brokerState(core, parts.cluster));
  return core;
}

/** A token that is refused counts too: a forged one may cost as much as a good one. */
function timed(verify: VerifyToken, verified: (seconds: number) => void): VerifyToken {
  return async (token, peer) => {
    const startMs = performance.now();
    try {
      return await verify(token, peer);
    } finally {
      verified((performance.now() - startMs) / 1000);
    }
  };
}
