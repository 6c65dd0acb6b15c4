import { parsePolicy } from '@fleetgate/broker';
import { assets } from '@fleetgate/console';
import fastify, { LogController } from 'fastify';
import { expect, onTestFinished } from 'vitest';
import type { AccessOptions } from '../../cli/console/access.ts';
import { createLiveEvents, type LiveEvents } from '../../cli/console/live-events.ts';
import { createPolicyWork } from '../../cli/console/policy-work.ts';
import { consoleRoutes } from '../../cli/console/routes.ts';
import { createSignIns } from '../../cli/console/sign-ins.ts';
import { adminKey, type IssuerFixture, issuerFixture } from './issuer-fixture.ts';

const policyText = `version: 1
scopes:
  telemetry.write: { publish: [ 'devices/{client_id}/telemetry/#' ] }
`;

/** The console on an admin listener, asked as a page asks it. */
export interface ServedConsole {
  readonly fixture: IssuerFixture;
  readonly url: string;
  readonly live: LiveEvents;
  readonly clock: { nowMs: number };
  call(method: string, path: string, options?: CallOptions): Promise<Response>;
  /** The cookie, as a browser sends it back. */
  signIn(key?: string): Promise<string>;
  apiKey(role: string): Promise<string>;
}

export interface CallOptions {
  readonly cookie?: string;
  readonly body?: unknown;
  /** Default: those of a page of this origin. */
  readonly headers?: Record<string, string>;
}

/** @param access in place of a broker; `text` is that of the policy in force. Serves until the test ends. */
export async function serveConsole({
  text = policyText,
  ...access
}: Partial<AccessOptions> & { readonly text?: string } = {}): Promise<ServedConsole> {
  const fixture = await issuerFixture();
  const { issuer } = fixture;
  const clock = { nowMs: Date.now() };
  const work = createPolicyWork();
  const live = createLiveEvents(async () => ({ connections: 1 }));
  const app = fastify({ logController: new LogController({ disableRequestLogging: true }) });
  await app.register(issuer.adminRoutes({ adminKey }));
  await app.register(
    consoleRoutes({
      assets,
      live,
      access: {
        policy: () => ({ file: 'policy.yaml', text, policy: parsePolicy(text, 'policy.yaml') }),
        tokenClaims: [],
        sessions: () => [],
        explainToken: async () => undefined,
        ...access,
      },
      work,
      signIns: createSignIns(() => clock.nowMs),
      about: () => ({ roles: ['issuer'] }),
    }),
  );
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    live.close();
    work.close();
    app.server.closeAllConnections();
    await app.close();
  });

  const call: ServedConsole['call'] = (
    method,
    path,
    { cookie, body, headers = { 'sec-fetch-site': 'same-origin' } } = {},
  ) =>
    fetch(`${url}/console${path}`, {
      method,
      headers: {
        ...headers,
        ...(cookie === undefined ? {} : { cookie }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return {
    fixture,
    url,
    live,
    clock,
    call,
    async signIn(key = adminKey) {
      const answer = await call('POST', '/api/session', { body: { api_key: key } });
      expect(answer.status).toBe(200);
      return (answer.headers.get('set-cookie') as string).split(';')[0] as string;
    },
    async apiKey(role) {
      const answer = await fetch(`${url}/v1/api-keys`, {
        method: 'POST',
        headers: { 'api-key': adminKey, 'content-type': 'application/json' },
        body: JSON.stringify({ name: `key-${role}`, role }),
      });
      return ((await answer.json()) as { api_key: string }).api_key;
    },
  };
}

/** Status and code of a refusal. */
export const codeOf = async (answer: Response) => [
  answer.status,
  ((await answer.json()) as { code: string }).code,
];
