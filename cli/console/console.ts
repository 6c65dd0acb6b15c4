import { assets } from '@fleetgate/console';
import type { KeyHolder } from '@fleetgate/issuer';
import type { FastifyPluginAsync } from 'fastify';
import type { Registry } from 'prom-client';
import { readFigures } from './figures.ts';
import { createLiveEvents } from './live-events.ts';
import { createPolicyWork } from './policy-work.ts';
import { type ConsoleOptions, consoleRoutes } from './routes.ts';
import { createSignIns } from './sign-ins.ts';

/** The console of one process. */
export interface Console {
  readonly routes: FastifyPluginAsync;
  /** Whose key it is, of people who are signed in without one of the registry. */
  readonly keyHolder: KeyHolder;
  /** Shown as it happens. */
  refused(refusal: object): void;
  close(): void;
}

export interface ConsoleParts extends Pick<ConsoleOptions, 'access' | 'about' | 'oidc'> {
  readonly metrics: Registry;
}

export function createConsole({ metrics, ...options }: ConsoleParts): Console {
  const live = createLiveEvents(() => readFigures(metrics));
  const work = createPolicyWork();
  const signIns = createSignIns();
  return {
    routes: consoleRoutes({ assets, signIns, live, work, ...options }),
    keyHolder: signIns.keyHolder,
    refused: live.refused,
    close() {
      live.close();
      work.close();
    },
  };
}
