import { describe, expect, onTestFinished, test } from 'vitest';
import {
  createIntrospection,
  type Introspection,
  type IntrospectionOptions,
} from '../../../broker/introspection/introspection.ts';
import { until } from '../../support/broker-fixture.ts';
import { fakeClock, type HttpServer, httpServer, jsonServer } from '../../support/verifier-fixture.ts';

const CANARY_TOKEN = 'canary-token.eyJ.abc_123';
const CANARY_SECRET = 'canary secret+/%:ü';

interface Introspecting {
  readonly introspection: Introspection;
  readonly log: readonly { level: string; event?: string }[];
  readonly errors: readonly unknown[];
  /** Passes the time and rings what is due by then. */
  pass(seconds: number): void;
  /** Resolves once every answer is in and the next question waits for its time. */
  resting(): Promise<void>;
}

function introspecting(options: Partial<IntrospectionOptions> & { issuer: string }): Introspecting {
  const clock = fakeClock();
  let ring: (() => void) | undefined;
  const log: { level: string; event?: string }[] = [];
  const note = (level: string) => (line: object) => void log.push({ level, ...line });
  const errors: unknown[] = [];
  const introspection = createIntrospection({
    clientId: 'broker:1',
    clientSecret: CANARY_SECRET,
    log: { debug: note('debug'), info: note('info'), warn: note('warn') },
    onError: (error) => errors.push(error),
    monotonicMs: clock.ms,
    timers: {
      setTimer(callback) {
        ring = callback;
        return {} as NodeJS.Timeout;
      },
      clearTimer() {
        ring = undefined;
      },
    },
    ...options,
  });
  onTestFinished(() => introspection.close());
  return {
    introspection,
    log,
    errors,
    pass(seconds) {
      clock.pass(seconds);
      const due = ring;
      ring = undefined;
      due?.();
    },
    resting: () => until(() => ring !== undefined),
  };
}

/** Of one server, whose answer can be changed. */
function at(server: HttpServer, options: Partial<IntrospectionOptions> = {}): Introspecting {
  return introspecting({ issuer: server.origin, endpoint: `${server.origin}/introspect`, ...options });
}

/** A server that answers what `activity` says of a token, and keeps the tokens it was asked about. */
async function tokenServer(activity: (token: string) => unknown): Promise<HttpServer & { asked: string[] }> {
  const asked: string[] = [];
  const server = await httpServer((request, response) => {
    let form = '';
    request.setEncoding('utf8');
    request.on('data', (text: string) => {
      form += text;
    });
    request.on('end', () => {
      const token = new URLSearchParams(form).get('token') ?? '';
      asked.push(token);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(activity(token)));
    });
  });
  return Object.assign(server, { asked });
}

describe('one question', () => {
  test('is as RFC 7662 §2.1 has it, with HTTP Basic', async () => {
    let body = '';
    const server = await httpServer((request, response) => {
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      request.on('end', () => {
        response.setHeader('content-type', 'application/json');
        response.end('{"active":true}');
      });
    });
    expect(await at(server).introspection.check(CANARY_TOKEN)).toBe('active');
    const [request] = server.requests;
    expect(request).toMatchObject({ method: 'POST', url: '/introspect' });
    expect(request?.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/);
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      token: CANARY_TOKEN,
      token_type_hint: 'access_token',
    });
    const [scheme, pair = ''] = request?.headers.authorization?.split(' ') ?? [];
    expect(scheme).toBe('Basic');
    const [id, secret] = atob(pair)
      .split(':')
      .map((part) => new URLSearchParams(`x=${part}`).get('x'));
    expect([id, secret]).toEqual(['broker:1', CANARY_SECRET]);
  });

  test.each<
    [string, { status?: number; body?: unknown; headers?: Record<string, string> } | undefined, string]
  >([
    ['active', { body: { active: true, client_id: 'a' } }, 'active'],
    ['inactive', { body: { active: false } }, 'inactive'],
    ['active as a string', { body: { active: 'false' } }, 'unknown'],
    ['active as a number', { body: { active: 0 } }, 'unknown'],
    ['no active', { body: { status: 'OK' } }, 'unknown'],
    ['null', { body: 'null' }, 'unknown'],
    ['no JSON', { body: 'false' }, 'unknown'],
    ['inactive as HTML', { body: '{"active":false}', headers: { 'content-type': 'text/html' } }, 'unknown'],
    ['inactive with 401', { status: 401, body: { active: false } }, 'unknown'],
    ['inactive with 500', { status: 500, body: { active: false } }, 'unknown'],
    ['a redirect', { status: 307, headers: { location: '/elsewhere' } }, 'unknown'],
    ['64 KiB and more', { body: { active: false, padding: 'x'.repeat(65_536) } }, 'unknown'],
    ['nothing', undefined, 'unknown'],
  ])('answered with %s is %s', async (_what, answer, activity) => {
    const server = await jsonServer(() => answer);
    expect(await at(server).introspection.check(CANARY_TOKEN)).toBe(activity);
    expect(server.paths()).toEqual(['/introspect']);
  });

  test('that is not answered in time is unknown', async () => {
    const server = await httpServer(() => {});
    expect(await at(server, { timeoutMs: 100 }).introspection.check(CANARY_TOKEN)).toBe('unknown');
    await until(() => server.requests[0]?.socket.destroyed === true);
  });

  test('is told of once when the issuer stops answering, and once when it is back', async () => {
    let status = 503;
    const server = await jsonServer(() => ({ status, body: { active: true } }));
    const { introspection, log } = at(server);
    for (let i = 0; i < 3; i += 1) await introspection.check(CANARY_TOKEN);
    status = 200;
    for (let i = 0; i < 3; i += 1) await introspection.check(CANARY_TOKEN);
    expect(log).toMatchObject([
      { level: 'warn', event: 'introspection_unavailable' },
      { level: 'info', event: 'introspection_available' },
    ]);
    expect(JSON.stringify(log)).not.toMatch(/canary/);
  });
});

describe('the endpoint is found by the metadata', () => {
  test.each(['introspection_endpoint', 'token_introspection_endpoint'])('as %s, once', async (name) => {
    const server = await jsonServer((path, { headers }) => {
      const origin = `http://${headers.host}`;
      if (path === '/.well-known/oauth-authorization-server') {
        return { body: { issuer: origin, [name]: `${origin}/there` } };
      }
      return path === '/there' ? { body: { active: false } } : { status: 404 };
    });
    const { introspection } = introspecting({ issuer: server.origin });
    const answers = await Promise.all([introspection.check('a'), introspection.check('b')]);
    expect(answers).toEqual(['inactive', 'inactive']);
    expect(server.paths().sort()).toEqual(['/.well-known/oauth-authorization-server', '/there', '/there']);
  });

  test('and looked for again, not at once, when it was not found or answers no more', async () => {
    let place: string | undefined;
    const server = await jsonServer((path, { headers }) => {
      const origin = `http://${headers.host}`;
      if (path === '/.well-known/oauth-authorization-server') {
        return place === undefined
          ? { status: 503 }
          : { body: { issuer: origin, introspection_endpoint: origin + place } };
      }
      return path === place ? { body: { active: true } } : { status: 404 };
    });
    const { introspection, pass } = introspecting({ issuer: server.origin });
    expect(await introspection.check('a')).toBe('unknown');
    place = '/old';
    expect(await introspection.check('a')).toBe('unknown');
    pass(30);
    expect(await introspection.check('a')).toBe('active');
    place = '/new';
    expect([await introspection.check('a'), await introspection.check('a')]).toEqual(['unknown', 'unknown']);
    pass(30);
    expect(await introspection.check('a')).toBe('active');
  });

  test('and no secret goes to an endpoint of another issuer or over http', async () => {
    const trap = await jsonServer(() => ({ body: { active: true } }));
    for (const metadata of [
      { issuer: 'https://other.example', introspection_endpoint: `${trap.origin}/` },
      { introspection_endpoint: 'http://auth.example/introspect' },
    ]) {
      const server = await jsonServer((_path, { headers }) => ({
        body: { issuer: `http://${headers.host}`, ...metadata },
      }));
      expect(await introspecting({ issuer: server.origin }).introspection.check(CANARY_TOKEN)).toBe(
        'unknown',
      );
    }
    expect(trap.requests).toHaveLength(0);
  });
});

describe('a token that is watched', () => {
  test('is asked about at once and then every interval, until the issuer says that it is inactive', async () => {
    let isActive = true;
    const server = await tokenServer(() => ({ active: isActive }));
    const { introspection, pass, resting } = at(server, { intervalSeconds: 10 });
    let ended = 0;
    introspection.watch('a', () => {
      ended += 1;
    });
    await resting();
    pass(9);
    expect(server.asked).toHaveLength(1);
    pass(1);
    await resting();
    expect(server.asked).toHaveLength(2);
    isActive = false;
    pass(10);
    await until(() => ended === 1);
    expect(introspection.watched).toBe(0);
    pass(100);
    expect(server.asked).toEqual(['a', 'a', 'a']);
  });

  test('by two is asked about once, and both are told', async () => {
    const server = await tokenServer(() => ({ active: false }));
    const { introspection, errors } = at(server);
    const told: string[] = [];
    introspection.watch('a', () => {
      told.push('first');
      throw new Error('a listener that fails');
    });
    introspection.watch('a', () => told.push('second'));
    expect(introspection.watched).toBe(1);
    await until(() => told.length === 2);
    expect(told).toEqual(['first', 'second']);
    expect(errors).toHaveLength(1);
    expect(server.asked).toEqual(['a']);
  });

  test('is watched as long as one of them does', async () => {
    const server = await tokenServer(() => ({ active: true }));
    const { introspection, pass, resting } = at(server, { intervalSeconds: 10 });
    const [first, second] = [introspection.watch('a', fail), introspection.watch('a', fail)];
    first();
    first();
    expect(introspection.watched).toBe(1);
    await resting();
    expect(server.asked).toHaveLength(1);
    second();
    expect(introspection.watched).toBe(0);
    pass(100);
    await introspection.check('marker');
    expect(server.asked).toEqual(['a', 'marker']);
  });

  test.each([true, false])(
    'and given up while the answer (active: %s) is on its way is asked about no more',
    async (active) => {
      const held: (() => void)[] = [];
      const server = await httpServer((_request, response) => {
        held.push(() => {
          response.setHeader('content-type', 'application/json');
          response.end(JSON.stringify({ active }));
        });
      });
      const { introspection, pass, log } = at(server, { intervalSeconds: 10 });
      const stop = introspection.watch('a', fail);
      await until(() => held.length === 1);
      stop();
      // The one behind it is answered later on the same connection.
      held[0]?.();
      await until(() => server.requests[0]?.complete === true);
      for (let asked = 2; asked <= 3; asked += 1) {
        const marker = introspection.check('marker');
        await until(() => held.length === asked);
        held[asked - 1]?.();
        await marker;
      }
      pass(100);
      const marker = introspection.check('marker');
      await until(() => held.length === 4);
      held[3]?.();
      await marker;
      expect(server.requests).toHaveLength(4);
      expect(log).toEqual([]);
    },
  );

  test('is left as it is while the issuer is away, and ends when it is back', async () => {
    let answer: { status?: number; body?: unknown } | undefined;
    const server = await jsonServer(() => answer);
    const { introspection, pass, log } = at(server, { intervalSeconds: 10 });
    let ended = 0;
    introspection.watch('a', () => {
      ended += 1;
    });
    await until(() => log.length === 1);
    answer = { status: 500, body: { active: false } };
    await until(() => {
      pass(10);
      return server.requests.length >= 3;
    });
    expect([ended, introspection.watched]).toEqual([0, 1]);
    answer = { body: { active: false } };
    await until(() => {
      pass(10);
      return ended === 1;
    });
  });

  test('waits its turn: eight are asked about at a time', async () => {
    const held: (() => void)[] = [];
    const server = await httpServer((_request, response) => {
      held.push(() => {
        response.setHeader('content-type', 'application/json');
        response.end('{"active":false}');
      });
    });
    const { introspection } = at(server);
    const ended = new Set<number>();
    for (let i = 0; i < 20; i += 1) introspection.watch(`token-${i}`, () => ended.add(i));
    await until(() => held.length === 8);
    expect(server.requests).toHaveLength(8);
    held[0]?.();
    await until(() => held.length === 9);
    for (let answered = 1; answered < 20; answered += 1) {
      await until(() => held.length > answered);
      expect(held.length - answered).toBeLessThanOrEqual(8);
      held[answered]?.();
    }
    await until(() => ended.size === 20);
  });

  test('is forgotten when all is closed', async () => {
    const server = await tokenServer(() => ({ active: true }));
    const { introspection, pass, resting } = at(server, { intervalSeconds: 10 });
    introspection.watch('a', fail);
    await resting();
    expect(server.asked).toHaveLength(1);
    introspection.close();
    expect(introspection.watched).toBe(0);
    pass(100);
    await introspection.check('marker');
    expect(server.asked).toEqual(['a', 'marker']);
  });
});

function fail(): never {
  throw new Error('this token is not inactive');
}
