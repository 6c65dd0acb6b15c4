import { parsePolicy } from '@fleetgate/broker';
import { assets } from '@fleetgate/console';
import fastify, { LogController } from 'fastify';
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import type { AccessOptions } from '../../cli/console/access.ts';
import { createLiveEvents, type LiveEvents } from '../../cli/console/live-events.ts';
import type { OidcOptions } from '../../cli/console/oidc/routes.ts';
import { createPolicyWork } from '../../cli/console/policy-work.ts';
import { consoleRoutes } from '../../cli/console/routes.ts';
import { createSignIns } from '../../cli/console/sign-ins.ts';
import { adminKey, type IssuerFixture, issuerFixture } from './issuer-fixture.ts';

const policyText = `version: 1
scopes:
  telemetry.write: { publish: [ 'devices/{client_id}/telemetry/#' ] }
`;

/** Where browsers are told that it is. */
export const CONSOLE_URL = 'http://127.0.0.1:9/fleet/console/';

/** Of the console at the provider. */
export const CONSOLE_SECRET = 'console-secret-0123456789';

/** The console on an admin listener, asked as a page asks it. */
export interface ServedConsole {
  readonly fixture: IssuerFixture;
  /** What was logged of sign-ins at the provider. */
  readonly lines: readonly string[];
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

export interface ServeOptions extends Partial<AccessOptions> {
  /** Of the policy in force. */
  readonly text?: string;
  /** What is to differ of a sign-in with OpenID Connect; unset: there is none. */
  readonly oidc?: Partial<OidcOptions>;
  /** How long a walk through the trail waits for its reader. */
  readonly stallMs?: number;
}

/** Serves until the test ends, with what stands in place of a broker. */
export async function serveConsole({
  text = policyText,
  oidc,
  stallMs,
  ...access
}: ServeOptions = {}): Promise<ServedConsole> {
  const fixture = await issuerFixture();
  const { issuer } = fixture;
  const clock = { nowMs: Date.now() };
  const work = createPolicyWork();
  const live = createLiveEvents(async () => ({ connections: 1 }));
  const app = fastify({ logController: new LogController({ disableRequestLogging: true }) });
  const signIns = createSignIns(() => clock.nowMs);
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line) => void lines.push(line) });
  await app.register(issuer.adminRoutes({ adminKey, keyHolder: signIns.keyHolder }));
  await app.register(
    consoleRoutes({
      assets,
      live,
      access: {
        policy: () => ({ file: 'policy.yaml', text, policy: parsePolicy(text, 'policy.yaml') }),
        audience: 'mqtt',
        defaultAudience: ['mqtt'],
        tokenClaims: [],
        sessions: () => [],
        explainToken: async () => undefined,
        ...access,
      },
      work,
      signIns,
      stallMs,
      oidc: oidc && {
        consoleUrl: CONSOLE_URL,
        issuer: 'http://127.0.0.1:1',
        clientId: 'console',
        clientSecret: CONSOLE_SECRET,
        scopes: ['openid'],
        roleClaim: 'roles',
        roles: { ops: 'admin', line: 'provisioner', audit: 'auditor' },
        recordRefused: issuer.recordRefused,
        log,
        now: () => clock.nowMs,
        ...oidc,
      },
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
    lines,
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
