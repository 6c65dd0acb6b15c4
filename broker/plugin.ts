import type { Duplex } from 'node:stream';
import type { Aedes } from 'aedes';
import { attach } from './attach.ts';
import { connectChecks } from './connect.ts';
import { createCore, type Parts } from './core.ts';
import { guards } from './guard/guards.ts';
import { type AedesHooks, createHooks } from './hooks.ts';
import { type PluginOptions, prepareOptions, type Settings } from './options.ts';

export interface Fleetgate {
  readonly hooks: AedesHooks;
  /**
   * Puts the guards in front of a broker made with {@link hooks}. Before the first connection, once; until then, and
   * for connections that do not come through `broker.handle`, everything is refused.
   * @throws TypeError
   */
  attach(broker: Aedes): void;
  /** Sockets that are open, sessions or not. */
  readonly connections: ReadonlySet<{ readonly stream: Duplex; readonly client?: { pause(): void } }>;
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
  return Object.freeze({
    hooks,
    attach: (broker: Aedes) => attach(core, hooks, broker),
    connections: core.sessions.open,
    close() {
      core.isClosed = true;
      core.expiries.close();
      core.connectDeadlines.close();
    },
  });
}
