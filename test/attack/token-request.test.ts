import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { basic, form, issuerFixture, json } from '../support/issuer-fixture.ts';

/**
 * What a client of its own right may send to the endpoints for clients: whatever it is, the answer is one of RFC 6749,
 * and no token holds more than the client is registered for.
 */

const paths = ['/oauth/token', '/oauth/introspect', '/oauth/revoke'] as const;
const registered = ['a', 'event.*', 'mqtt:publish:d/{client_id}/#', 'mqtt:subscribe:g/{group}'];
const audience = ['mqtt', 'urn:api'];

const names = fc.constantFrom(
  ...[
    'grant_type',
    'scope',
    'audience',
    'resource',
    'token',
    'token_type_hint',
    'client_id',
    'client_secret',
  ],
  ...['clientId', 'grantType', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', ''],
);
const scopes = fc
  .array(
    fc.constantFrom(
      ...[
        ...registered,
        'event.b',
        'event.*.b',
        'event.',
        'b',
        '*',
        'mqtt:publish:#',
        'mqtt:publish:d/dev-1/x',
      ],
      ...[
        'mqtt:publish:d/+/x',
        'mqtt:publish:d/{client_id}/../#',
        'mqtt:publish:%',
        'mqtt:publish:d/dev-1%2Fx',
        '\0',
      ],
    ),
    { maxLength: 4 },
  )
  .map((tokens) => tokens.join(' '));
const texts = fc.oneof(
  scopes,
  fc.constantFrom('client_credentials', 'dev-1', 'mqtt', 'urn:api', 'urn:api#x', 'urn:other', ''),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const values = fc.oneof(
  { weight: 4, arbitrary: texts },
  { weight: 1, arbitrary: fc.array(texts, { maxLength: 3 }) },
  fc.jsonValue(),
);
const bodies = fc.oneof(
  fc
    .array(fc.tuple(names, texts), { maxLength: 4 })
    .map((pairs) => ({ headers: form, body: new URLSearchParams(pairs).toString() })),
  fc
    .array(fc.tuple(names, values), { maxLength: 4 })
    .map((members) => ({ headers: json, body: JSON.stringify(Object.fromEntries(members)) })),
  fc
    .uint8Array({ maxLength: 200 })
    .map((body) => ({ headers: json, body: Buffer.from(body).toString('latin1') })),
);

/** Whether a token of dev-1, which is in no group, may hold it. */
const mayHold = (token: string) =>
  token === 'a' || /^event(\.[^.*\s]+)+$/.test(token) || /^mqtt:publish:d\/dev-1(\/|$)/.test(token);

test('no body makes the endpoints fail, nor a token that holds more than is registered', async () => {
  const fixture = await issuerFixture();
  const { client_secret } = await fixture.register({
    client_id: 'dev-1',
    scope: registered.join(' '),
    audience,
  });
  const authentication = basic('dev-1', client_secret);
  // Once proven it never waits for what is malformed beside it, of which there is more in a second than one may send.
  const first = await fixture.requestToken({ grant_type: 'client_credentials' }, authentication);
  expect(first.status).toBe(200);
  let issued = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      bodies,
      fc.boolean(),
      async (path, { headers, body }, isCompleted) => {
        // A grant in front of the rest, so that more than the shape of a request is reached.
        const started =
          headers === form
            ? `grant_type=client_credentials&${body}`
            : body.replace(/^\{(?=")/, '{"grant_type":"client_credentials",');
        const response = await fetch(`${fixture.issuer.url}${path}`, {
          method: 'POST',
          headers: { ...headers, ...authentication },
          body: isCompleted ? started : body,
        });
        const text = await response.text();
        if (response.status !== 200) {
          expect([400, 401, 429]).toContain(response.status);
          expect(Object.keys(JSON.parse(text)).sort()).toEqual(['error', 'error_description']);
          return;
        }
        if (path !== '/oauth/token') return;
        const answer = JSON.parse(text) as Record<string, string>;
        const claims = decodeJwt((answer['access_token'] ?? answer['accessToken']) as string);
        issued += 1;
        expect((claims['scp'] as string[]).filter((token) => !mayHold(token))).toEqual([]);
        expect((claims.aud as string[]).filter((one) => !audience.includes(one))).toEqual([]);
      },
    ),
    // Of random bodies some 4 % get a token: the well-formed example is one that always does.
    {
      numRuns: 300,
      examples: [['/oauth/token', { headers: form, body: '' }, true]],
    },
  );
  expect(issued).toBeGreaterThan(0);
});
