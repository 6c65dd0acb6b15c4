import type { Duplex } from 'node:stream';
import type { Aedes } from 'aedes';
import { attach } from './attach.ts';
import type { Attempt } from './authorization/decide.ts';
import type { Policy } from './authorization/policy.ts';
import { connectChecks } from './connect.ts';
import { createCore, type Parts } from './core.ts';
import { guards } from './guard/guards.ts';
import { type AedesHooks, createHooks } from './hooks.ts';
import { createIntrospection, type Introspection } from './introspection/introspection.ts';
import { type LiveSession, liveSessions } from './live-sessions.ts';
import { type PluginOptions, prepareOptions, type Settings } from './options.ts';
import type { Revocation } from './revocation.ts';
import { followRevocations } from './revocation-source.ts';
import { cutRevoked, followPolicy, runAgainWhileAsked } from './sweep.ts';
import { explainToken, type TokenExplanation } from './token-explanation.ts';

export interface Fleetgate {
  readonly hooks: AedesHooks;
  /**
   * Puts the guards in front of a broker made with {@link hooks}. Before the first connection, once; until then, and
   * for connections that do not come through `broker.handle`, everything is refused.
   * @throws TypeError
   */
  attach(broker: Aedes): void;
  /**
   * Takes tokens of an issuer back: from now on they are refused, and sessions that hold one are ended. Resolves when
   * the last of them was.
   */
  revoke(issuer: string, revocation: Revocation): Promise<void>;
  /** Puts another policy in force, for live sessions in place. Resolves when each of them follows it. */
  setPolicy(policy: Policy | undefined): Promise<void>;
  /** Why the broker should get no new connections; empty when it is ready. */
  problems(): string[];
  /** Sockets that are open, sessions or not. */
  readonly connections: ReadonlySet<{
    readonly stream: Duplex;
    readonly client: { pause(): void } | undefined;
  }>;
  /** The sessions of this broker, or those of one client. Each call walks them. */
  sessions(clientId?: string): Generator<LiveSession>;
  /** What is decided of an attempt of whoever holds that token, which is verified as at a CONNECT first. */
  explainToken(token: string, attempt: Attempt): Promise<TokenExplanation>;
  /** Denies everything from now on and stops the timers; close the broker first. */
  close(): void;
}

/**
 * Authorization of an Aedes broker by access tokens.
 *
 * ```ts
 * const auth = fleetgate({ issuers: [{ issuer: 'https://auth.example.com', keys: { jwksUri } }], policy });
 * const broker = await Aedes.createBroker({ ...auth.hooks });
 * auth.attach(broker);
 * ```
 *
 * @throws TypeError for a mistake in the options, FleetgateError `not_supported`
 */
export function fleetgate(options: PluginOptions): Fleetgate {
  return createPlugin(prepareOptions(options), { guards, connectChecks });
}

/** The plugin of `settings`, made of `parts`. */
export function createPlugin(settings: Settings, parts: Parts): Fleetgate {
  const core = createCore(settings, parts);
  const hooks = createHooks(core);
  const cut = runAgainWhileAsked(() => cutRevoked(core));
  const follow = runAgainWhileAsked(() => followPolicy(core));
  const revoke = (issuer: string, revocation: Revocation): Promise<void> => {
    core.revocations.add(issuer, revocation);
    core.reports.revoked(revocation.kind);
    return cut();
  };

  function startFeeds(): void {
    for (const { issuer, revocations } of settings.issuers) {
      if (revocations === undefined) continue;
      const take = (revocation: Revocation) => void revoke(issuer, revocation).catch(core.onError);
      core.feeds.set(issuer, followRevocations(issuer, revocations, take, core.monotonicMs));
    }
  }

  const introspections = new Map<string, Introspection>();
  for (const { issuer, introspection } of settings.issuers) {
    if (introspection === undefined) continue;
    const { log } = settings;
    const { onError, monotonicMs } = core;
    introspections.set(issuer, createIntrospection({ ...introspection, issuer, log, onError, monotonicMs }));
  }
  core.watchToken = (session, text) => {
    session.unwatch?.();
    const { issuer, tokenId } = session.token;
    // Revoked here too, or the client would come back with the same token.
    const onInactive = () => void revoke(issuer, { kind: 'token', tokenId }).catch(core.onError);
    const introspection = introspections.get(issuer);
    if (introspection === undefined) delete session.unwatch;
    else session.unwatch = introspection.watch(Buffer.from(text).toString('latin1'), onInactive);
  };

  return Object.freeze({
    hooks,
    attach(broker: Aedes) {
      attach(core, hooks, broker);
      startFeeds();
    },
    revoke,
    setPolicy(policy: Policy | undefined) {
      core.authority.policy = policy;
      core.reports.policyChanged();
      return follow();
    },
    problems: () =>
      Array.from(core.feeds.values())
        .filter((feed) => feed.isOverdue())
        .map(({ issuer }) => `the revocations of ${issuer} have not come in for too long`),
    connections: core.sessions.open,
    sessions: (clientId?: string) => liveSessions(core, clientId),
    explainToken: (token: string, attempt: Attempt) => explainToken(core, token, attempt),
    close() {
      core.isClosed = true;
      for (const feed of core.feeds.values()) feed.stop();
      for (const introspection of introspections.values()) introspection.close();
      core.expiries.close();
      core.connectDeadlines.close();
    },
  });
}
