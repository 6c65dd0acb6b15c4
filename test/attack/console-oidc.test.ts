import { generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { ATTEMPT_MS } from '../../cli/console/oidc/attempts.ts';
import { STEP_UP_MS } from '../../cli/console/sign-ins.ts';
import {
  CONSOLE_SECRET,
  CONSOLE_URL,
  codeOf,
  type ServedConsole,
  serveConsole,
} from '../support/console-server.ts';
import { rowsOf } from '../support/database.ts';
import { adminKey } from '../support/issuer-fixture.ts';
import { type RogueProvider, rogueProvider } from '../support/rogue-provider.ts';

let provider: RogueProvider;
let served: ServedConsole;

beforeEach(async () => {
  provider = await rogueProvider();
  served = await serveConsole({ oidc: { issuer: provider.issuer } });
});

/** As a browser sends it when another site has sent it there. */
const elsewhere = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };

interface Begun {
  /** What the provider was asked. */
  readonly asked: URLSearchParams;
  /** The cookie that binds the attempt to the browser. */
  readonly cookie: string;
}

const cookiesOf = (answer: Response) =>
  answer.headers.getSetCookie().map((one) => one.split(';')[0] as string);

async function begin(path = '/oidc/start', cookie?: string): Promise<Begun> {
  const answer = await navigate(path, { ...(cookie === undefined ? {} : { cookie }) });
  expect(answer.status).toBe(303);
  const location = new URL(answer.headers.get('location') as string);
  expect(location.origin + location.pathname).toBe(`${provider.issuer}/authorize`);
  return { asked: location.searchParams, cookie: cookiesOf(answer)[0] as string };
}

const navigate = (path: string, headers: Record<string, string>) =>
  fetch(`${served.url}/console${path}`, {
    headers: { 'sec-fetch-site': 'same-origin', ...headers },
    redirect: 'manual',
  });

const nowSeconds = () => Math.floor(Date.now() / 1000);
const claimsFor = (asked: URLSearchParams, claims: object = {}): JWTPayload => ({
  iss: provider.issuer,
  sub: 'ada',
  aud: 'console',
  iat: nowSeconds(),
  exp: nowSeconds() + 60,
  nonce: asked.get('nonce') as string,
  roles: ['ops'],
  ...claims,
});

interface Back {
  readonly cookie?: string | undefined;
  readonly query?: Record<string, string | undefined>;
}

/** The way back with a code, as an honest provider answers it but for `query`. */
function back({ asked, cookie }: Begun, change: Back = {}): Promise<Response> {
  const all = {
    code: 'the-code',
    state: asked.get('state') as string,
    iss: provider.issuer,
    ...change.query,
  };
  const query = Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const sent = 'cookie' in change ? change.cookie : cookie;
  return navigate(`/oidc/callback?${new URLSearchParams(query)}`, {
    ...elsewhere,
    ...(sent === undefined ? {} : { cookie: sent }),
  });
}

/** Signs in somebody; the cookie of the session. */
async function signIn(claims: JWTPayload = {}): Promise<string> {
  const begun = await begin();
  provider.answer = () => provider.sign(claimsFor(begun.asked, claims));
  const answer = await back(begun);
  expect(answer.headers.get('location')).toBe(CONSOLE_URL);
  return cookiesOf(answer).find((one) => /^__Host-fleetgate=./.test(one)) as string;
}

/** Nobody is signed in, and the page is told why. */
function expectRefused(answer: Response, code: string): void {
  expect(answer.status).toBe(303);
  expect(answer.headers.get('location')).toBe(`${CONSOLE_URL}#/oidc/${code}`);
  expect(cookiesOf(answer)).toEqual(['__Host-fleetgate-oidc=']);
}

test('the code is asked for with PKCE, state and nonce, by an exact redirect URI, and redeemed with the secret', async () => {
  const begun = await begin();
  expect(Object.fromEntries(begun.asked)).toEqual({
    client_id: 'console',
    response_type: 'code',
    redirect_uri: `${CONSOLE_URL}oidc/callback`,
    scope: 'openid',
    state: expect.stringMatching(/^[\w-]{43}$/),
    nonce: expect.stringMatching(/^[\w-]{43}$/),
    code_challenge: expect.stringMatching(/^[\w-]{43}$/),
    code_challenge_method: 'S256',
  });
  provider.answer = () => provider.sign(claimsFor(begun.asked));
  const answer = await back(begun);
  expect(answer.status).toBe(303);
  const [own, session] = answer.headers.getSetCookie();
  expect(own).toMatch(/^__Host-fleetgate-oidc=; Path=\/; Max-Age=0; HttpOnly; Secure; SameSite=Lax$/);
  expect(session).toMatch(
    /^__Host-fleetgate=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict$/,
  );
  const [{ body, authorization } = { body: new URLSearchParams(), authorization: '' }] = provider.requests;
  expect(body.get('redirect_uri')).toBe(`${CONSOLE_URL}oidc/callback`);
  expect(body.get('code_verifier')).toMatch(/^[\w-]{43,}$/);
  expect(authorization).toMatch(/^Basic /);
  expect(JSON.stringify([...body])).not.toContain(CONSOLE_SECRET);
});

test('who is signed in is known by their subject to whoami, to the audit trail, and to nobody by a key', async () => {
  const cookie = await signIn({ preferred_username: 'Ada L.' });
  const session = await served.call('GET', '/api/session', { cookie });
  expect(await session.json()).toMatchObject({
    key: 'oidc:ada',
    role: 'admin',
    way: 'oidc',
    title: 'Ada L.',
  });
  const who = await served.call('GET', '/api/v1/whoami', { cookie });
  expect(await who.json()).toEqual({ name: 'oidc:ada', role: 'admin' });
  expect((await served.call('POST', '/api/v1/clients', { cookie, body: { client_id: 'made' } })).status).toBe(
    201,
  );
  const rows = await rowsOf<{ actor: string }>(
    served.fixture.database,
    "SELECT actor FROM audit WHERE action = 'client.create' AND target = 'made'",
  );
  expect(rows).toEqual([{ actor: 'admin:oidc:ada' }]);
  const keys = await served.call('GET', '/api/v1/api-keys', { cookie });
  expect(await keys.text()).not.toContain('ada');
});

test.each([
  ['ops', 'admin'],
  ['line', 'provisioner'],
  ['audit', 'auditor'],
  [['audit', 'line'], 'provisioner'],
  [['nothing', 'audit', 7, null], 'auditor'],
])('the claim %j gives %s, and no more', async (roles, role) => {
  const cookie = await signIn({ roles });
  const who = await served.call('GET', '/api/v1/whoami', { cookie });
  expect(await who.json()).toMatchObject({ role });
  const rotated = await served.call('POST', '/api/v1/keys/rotate', { cookie, body: {} });
  expect(rotated.status).toBe(role === 'admin' ? 202 : 403);
});

test.each<[string, unknown]>([
  ['another role', ['visitors']],
  ['none', undefined],
  ['an empty list', []],
  ['the role itself and not what gives it', 'admin'],
  ['what every object has', ['constructor', '__proto__', 'toString']],
  ['an object', { ops: true }],
  ['a number', 7],
  ['a list within a list', [['ops']]],
  ['words that hold it', 'ops line'],
])('who has %s gets in by nothing, and is in the audit trail', async (_name, roles) => {
  const begun = await begin();
  provider.answer = () => provider.sign(claimsFor(begun.asked, { roles }));
  expectRefused(await back(begun), 'oidc_role_unmapped');
  const rows = await rowsOf(
    served.fixture.database,
    "SELECT actor, action, result FROM audit WHERE actor LIKE '%oidc%'",
  );
  expect(rows).toEqual([{ actor: 'admin:oidc:ada', action: 'admin.authorize', result: 'role_insufficient' }]);
});

test('a role may be deep in the token, by a JSON pointer', async () => {
  served = await serveConsole({ oidc: { issuer: provider.issuer, roleClaim: '/realm_access/x~1y/1' } });
  const cookie = await signIn({ roles: undefined, realm_access: { 'x/y': ['ops', 'audit'] } });
  const who = await served.call('GET', '/api/v1/whoami', { cookie });
  expect(await who.json()).toMatchObject({ role: 'auditor' });
});

describe('the way back', () => {
  test('a code comes in once', async () => {
    const begun = await begin();
    provider.answer = () => provider.sign(claimsFor(begun.asked));
    expect((await back(begun)).headers.get('location')).toBe(CONSOLE_URL);
    expectRefused(await back(begun), 'oidc_attempt_unknown');
    expect(provider.requests).toHaveLength(1);
  });

  test.each<[string, (one: Begun, other: Begun) => Back, string]>([
    [
      'with the state of another attempt',
      (_, { asked }) => ({ query: { state: asked.get('state') as string } }),
      'oidc_refused',
    ],
    ['without a state', () => ({ query: { state: undefined } }), 'oidc_refused'],
    ['in a browser without the cookie', () => ({ cookie: undefined }), 'oidc_attempt_unknown'],
    ['in a browser with the cookie of another attempt', (_, { cookie }) => ({ cookie }), 'oidc_refused'],
    [
      'with a cookie that was made up',
      () => ({ cookie: `__Host-fleetgate-oidc=${'A'.repeat(43)}` }),
      'oidc_attempt_unknown',
    ],
    ['from another provider (RFC 9207)', () => ({ query: { iss: 'https://evil.example' } }), 'oidc_refused'],
    ['without iss, which the provider says it sends', () => ({ query: { iss: undefined } }), 'oidc_refused'],
    ['without a code', () => ({ query: { code: undefined } }), 'oidc_refused'],
    [
      'with an error',
      () => ({ query: { error: 'access_denied', error_description: 'evil words' } }),
      'oidc_refused',
    ],
  ])('%s signs nobody in, and asks the provider for no token', async (_name, change, code) => {
    const [one, other] = [await begin(), await begin()];
    provider.answer = () => provider.sign(claimsFor(one.asked));
    const answer = await back(one, change(one, other));
    expectRefused(answer, code);
    expect(provider.requests).toHaveLength(0);
  });

  test('after ten minutes is too late', async () => {
    const begun = await begin();
    provider.answer = () => provider.sign(claimsFor(begun.asked));
    served.clock.nowMs += ATTEMPT_MS;
    expectRefused(await back(begun), 'oidc_attempt_unknown');
    expect(provider.requests).toHaveLength(0);
  });

  test('leads to the console and nowhere else', async () => {
    for (const extra of ['redirect_uri', 'return_to', 'next', 'target_link_uri', 'RelayState']) {
      const begun = await begin(`/oidc/start?${extra}=https://evil.example`);
      expect(begun.asked.get('redirect_uri')).toBe(`${CONSOLE_URL}oidc/callback`);
      provider.answer = () => provider.sign(claimsFor(begun.asked));
      const answer = await back(begun, { query: { [extra]: 'https://evil.example' } });
      expect(answer.headers.get('location')).toBe(CONSOLE_URL);
    }
    const lost = await navigate('/oidc/callback//evil.example/%2e%2e', elsewhere);
    expect(lost.headers.get('location')).toBeNull();
  });
});

describe('an ID token is refused', () => {
  test.each<[string, Record<string, unknown>]>([
    ['with the nonce of another attempt', { nonce: 'x'.repeat(43) }],
    ['without a nonce', { nonce: undefined }],
    ['that has expired', { exp: nowSeconds() - 60 }],
    ['that never expires', { exp: undefined }],
    ['for another audience', { aud: 'another' }],
    ['for several audiences and another party', { aud: ['console', 'another'], azp: 'another' }],
    ['of another issuer', { iss: 'https://evil.example' }],
    ['of nobody', { sub: undefined }],
    ['of a subject that is two lines', { sub: 'ada\nadmin' }],
    ['of a subject beyond 255 characters', { sub: 'a'.repeat(256) }],
    ['of a subject that is no text', { sub: 7 }],
    ['that is not valid yet', { nbf: nowSeconds() + 3600 }],
  ])('%s', async (_name, claims) => {
    const begun = await begin();
    provider.answer = () => provider.sign(claimsFor(begun.asked, claims));
    expectRefused(await back(begun), 'oidc_refused');
    expect(provider.requests).toHaveLength(1);
  });

  test.each<[string, (claims: JWTPayload) => Promise<string>]>([
    [
      'signed by a key that is not the provider’s',
      async (claims) => {
        const { privateKey } = await generateKeyPair('ES256');
        return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(privateKey);
      },
    ],
    ['signed by nobody', async (claims) => new UnsecuredJWT(claims).encode()],
    [
      'signed with the secret of the console',
      (claims) =>
        new SignJWT(claims)
          .setProtectedHeader({ alg: 'HS256' })
          .sign(new TextEncoder().encode(CONSOLE_SECRET.padEnd(32, '0'))),
    ],
    ['that is none', async () => 'x.y.z'],
  ])('%s', async (_name, make) => {
    const begun = await begin();
    provider.answer = () => make(claimsFor(begun.asked));
    expectRefused(await back(begun), 'oidc_refused');
  });

  test('that did not come', async () => {
    const begun = await begin();
    provider.answer = async () => ({ status: 200, body: { access_token: 'a', token_type: 'Bearer' } });
    expectRefused(await back(begun), 'oidc_refused');
  });
});

describe('while the provider is away', () => {
  test('a sign-in comes back with a word, and a key still opens the console', async () => {
    await provider.close();
    const answer = await navigate('/oidc/start', {});
    expect(answer.headers.get('location')).toBe(`${CONSOLE_URL}#/oidc/oidc_unavailable`);
    expect((await served.call('GET', '/api/sign-in')).status).toBe(200);
    expect(await served.signIn()).toMatch(/^__Host-fleetgate=/);
  });

  test('it is asked again once it is back', async () => {
    provider.metadata = { issuer: 'https://evil.example' };
    const answer = await navigate('/oidc/start', {});
    expect(answer.headers.get('location')).toBe(`${CONSOLE_URL}#/oidc/oidc_unavailable`);
    provider.metadata = {};
    served.clock.nowMs += 5_000;
    await begin();
  });

  test('between the way there and the way back nobody is signed in', async () => {
    const begun = await begin();
    await provider.close();
    expectRefused(await back(begun), 'oidc_unavailable');
  });

  test.each([{ authorization_endpoint: 'javascript:alert(1)' }, { authorization_endpoint: undefined }])(
    'so is one whose metadata says %j',
    async (metadata) => {
      provider.metadata = metadata;
      const answer = await navigate('/oidc/start', {});
      expect(answer.headers.get('location')).toBe(`${CONSOLE_URL}#/oidc/oidc_unavailable`);
    },
  );
});

describe('what touches many at once', () => {
  const rotate = (cookie: string) => served.call('POST', '/api/v1/keys/rotate', { cookie, body: {} });

  async function idle(claims?: JWTPayload): Promise<string> {
    const cookie = await signIn(claims);
    served.clock.nowMs += STEP_UP_MS;
    expect(await codeOf(await rotate(cookie))).toEqual([403, 'step_up_required']);
    return cookie;
  }

  async function anew(cookie: string, claims: (startedAt: number) => JWTPayload): Promise<Response> {
    const begun = await begin('/oidc/step-up', cookie);
    expect(Object.fromEntries(begun.asked)).toMatchObject({ prompt: 'login', max_age: '0' });
    const startedAt = Math.floor(served.clock.nowMs / 1000);
    provider.answer = () => provider.sign(claimsFor(begun.asked, claims(startedAt)));
    return back(begun);
  }

  test('is let past after the person has proved once more who they are', async () => {
    const cookie = await idle();
    const answer = await anew(cookie, (at) => ({ auth_time: at + 2 }));
    expect(answer.headers.get('location')).toBe(`${CONSOLE_URL}#/oidc/stepped_up`);
    // The session is the one that was.
    expect(cookiesOf(answer)).toEqual(['__Host-fleetgate-oidc=']);
    expect((await rotate(cookie)).status).toBe(202);
  });

  test.each<[string, (startedAt: number) => JWTPayload]>([
    ['proved it before they were asked', (at) => ({ auth_time: at - 60 })],
    ['are not said to have proved it', () => ({})],
    ['are said so by a text', (at) => ({ auth_time: `${at}` })],
    ['are somebody else', (at) => ({ auth_time: at, sub: 'eve' })],
  ])('is not when they %s', async (_name, claims) => {
    const cookie = await idle();
    expectRefused(await anew(cookie, claims), 'oidc_refused');
    expect((await rotate(cookie)).status).toBe(403);
  });

  test('is not by a key, nor by a sign-in that is none', async () => {
    const cookie = await idle();
    const given = await served.call('POST', '/api/step-up', { cookie, body: { api_key: adminKey } });
    expect(given.status).toBe(403);
    const byKey = await served.signIn();
    for (const headers of [{}, { cookie: byKey }, { cookie, ...elsewhere }]) {
      expect((await navigate('/oidc/step-up', headers)).headers.get('location')).toBe(CONSOLE_URL);
    }
  });

  test('and who has another role now is not signed in with the one before', async () => {
    const cookie = await idle();
    expectRefused(await anew(cookie, (at) => ({ auth_time: at, roles: ['line'] })), 'oidc_refused');
    expect((await rotate(cookie)).status).toBe(401);
  });

  test('and of whom the provider gives no role any more nobody is signed in', async () => {
    const cookie = await idle();
    expectRefused(await anew(cookie, (at) => ({ auth_time: at, roles: [] })), 'oidc_role_unmapped');
    expect((await served.call('GET', '/api/session', { cookie })).status).toBe(401);
  });
});

test('who has another role at the next sign-in has the one before nowhere', async () => {
  const admin = await signIn();
  const same = await signIn();
  expect((await served.call('GET', '/api/session', { cookie: admin })).status).toBe(200);
  const auditor = await signIn({ roles: ['audit'] });
  for (const cookie of [admin, same]) {
    expect((await served.call('GET', '/api/session', { cookie })).status).toBe(401);
  }
  const left = await served.call('GET', '/api/session', { cookie: auditor });
  expect(await left.json()).toMatchObject({ role: 'auditor' });
});

test('a sign-in that has ended leaves nothing that opens the admin API', async () => {
  const cookie = await signIn();
  expect((await served.call('DELETE', '/api/session', { cookie })).status).toBe(204);
  expect((await served.call('GET', '/api/v1/clients', { cookie })).status).toBe(401);
});

test('another site begins no sign-in', async () => {
  for (const site of ['cross-site', 'same-site']) {
    const answer = await navigate('/oidc/start', { 'sec-fetch-site': site });
    expect(answer.headers.get('location')).toBe(CONSOLE_URL);
    expect(answer.headers.getSetCookie()).toEqual([]);
  }
});

test('who signs in is logged, and neither code, token, state nor secret are', async () => {
  const begun = await begin();
  let token = '';
  provider.answer = async () => {
    token = await provider.sign(claimsFor(begun.asked));
    return token;
  };
  await back(begun);
  const refused = await begin();
  provider.answer = async () => ({
    status: 400,
    body: { error: 'invalid_grant', error_description: 'the-code was used' },
  });
  await back(refused);
  const denied = await begin();
  await back(denied, { query: { error: 'access_denied', error_description: 'evil\nwords' } });
  const events = served.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events).toMatchObject([
    { event: 'console_signed_in', by: 'oidc:ada', role: 'admin' },
    {
      event: 'console_sign_in_refused',
      reason: 'oidc_refused',
      problem: expect.stringContaining('invalid_grant'),
    },
    {
      event: 'console_sign_in_refused',
      reason: 'oidc_refused',
      problem: expect.stringContaining('access_denied'),
    },
  ]);
  const secrets = [begun, refused, denied].flatMap(({ asked, cookie }) => [
    asked.get('state') as string,
    asked.get('nonce') as string,
    cookie.split('=')[1] as string,
  ]);
  for (const text of ['the-code', token, 'opaque-access-token', CONSOLE_SECRET, 'evil', ...secrets]) {
    expect(served.lines.join('')).not.toContain(text);
  }
});

test('without console.oidc there is no way to a provider', async () => {
  served = await serveConsole();
  for (const path of ['/oidc/start', '/oidc/step-up', '/oidc/callback?code=x']) {
    expect((await navigate(path, {})).status).toBe(404);
  }
  expect(await (await served.call('GET', '/api/sign-in')).json()).toEqual({});
});
