import { assets } from '@fleetgate/console';
import type { FastifyPluginAsync } from 'fastify';
import type { Registry } from 'prom-client';
import type { AccessOptions } from './access.ts';
import { readFigures } from './figures.ts';
import { createLiveEvents } from './live-events.ts';
import { createPolicyWork } from './policy-work.ts';
import { consoleRoutes } from './routes.ts';
import { createSignIns } from './sign-ins.ts';

/** The console of one process. */
export interface Console {
  readonly routes: FastifyPluginAsync;
  /** Shown as it happens. */
  refused(refusal: object): void;
  close(): void;
}

/** @param about what the page is told of the process it looks at */
export function createConsole(metrics: Registry, access: AccessOptions, about: () => object): Console {
  const live = createLiveEvents(() => readFigures(metrics));
  const work = createPolicyWork();
  return {
    routes: consoleRoutes({ assets, signIns: createSignIns(), live, access, work, about }),
    refused: live.refused,
    close() {
      live.close();
      work.close();
    },
  };
}
