import { TokenError } from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createVerifier } from '../../verifier/verify.ts';
import { base64url, testIssuer } from '../support/broker-tokens.ts';

/** Whatever is done to a token without its key: it does not verify, and the refusal is one of ours. */
const issuers = (['ES256', 'EdDSA', 'RS256'] as const).map((alg) =>
  testIssuer(`https://${alg}.example`.toLowerCase(), alg),
);
const tokens = issuers.map((issuer) =>
  issuer.token({ scope: ['telemetry.write'], claims: { group: 'north' } }),
);
const anyToken = fc.constantFrom(...tokens);
const runs = { numRuns: 500 };

function verifier(maxCachedTokens: number) {
  return createVerifier({
    issuers: issuers.map(({ name, jwks }) => ({ issuer: name, keys: { jwks } })),
    audience: 'mqtt',
    clockSkewSeconds: 5,
    now: Date.now,
    maxCachedTokens,
  });
}

/** What was shown to the cache before must not help either. */
const verifiers = [verifier(0), verifier(100)];

async function expectRefused(token: Uint8Array, original: string): Promise<void> {
  const isSame = Buffer.from(original).equals(token);
  for (const verify of verifiers) {
    await verify(Buffer.from(original));
    const outcome = await verify(token).then(
      () => 'verified',
      (error: unknown) => (error instanceof TokenError ? 'refused' : error),
    );
    expect(outcome).toBe(isSame ? 'verified' : 'refused');
  }
}

type Edit = { readonly at: number; readonly remove: number; readonly insert: Uint8Array };

/** The edits one after the other; `at` is a share of the length. */
function edited(token: string, edits: readonly Edit[]): Buffer {
  let bytes = Buffer.from(token);
  for (const { at, remove, insert } of edits) {
    const place = Math.floor(at * bytes.length);
    bytes = Buffer.concat([bytes.subarray(0, place), insert, bytes.subarray(place + remove)]);
  }
  return bytes;
}

const share = fc.double({ min: 0, max: 1, noNaN: true });
const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.='];
const tokenText = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 4 });
const tokenBytes = fc.oneof(
  tokenText.map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 4 }),
);
const edit = fc.record({ at: share, remove: fc.nat({ max: 4 }), insert: tokenBytes });

test('bytes put in, taken out and replaced', async () => {
  const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(anyToken, edits, (token, made) => expectRefused(edited(token, made), token)),
    runs,
  );
});

test('one bit turned, whichever', async () => {
  for (const token of tokens) {
    const bytes = Buffer.from(token);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const turned = Buffer.from(bytes);
      turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
      for (const verify of verifiers) {
        const outcome = await verify(turned).then(
          () => `bit ${bit}`,
          (error: unknown) => error,
        );
        expect(outcome).toBeInstanceOf(TokenError);
      }
    }
  }
});

test('cut short, or with parts in another order', async () => {
  await fc.assert(
    fc.asyncProperty(anyToken, share, (token, at) =>
      expectRefused(Buffer.from(token.slice(0, Math.floor(at * token.length))), token),
    ),
    runs,
  );
  for (const token of tokens) {
    const parts = token.split('.');
    for (const order of ['021', '102', '120', '201', '210', '011', '000', '0122', '01']) {
      await expectRefused(Buffer.from([...order].map((index) => parts[Number(index)]).join('.')), token);
    }
  }
});

test('parts of one token put into another', async () => {
  await fc.assert(
    fc.asyncProperty(anyToken, anyToken, anyToken, async (one, two, three) => {
      const mixed = [one.split('.')[0], two.split('.')[1], three.split('.')[2]].join('.');
      // Whole again when all three are one.
      await expectRefused(Buffer.from(mixed), one);
    }),
    { numRuns: 100 },
  );
});

const anyJson = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    'none',
    'HS256',
    'RS256',
    'ES256',
    'EdDSA',
    'at+jwt',
    'JWT',
    'device-2',
    'mqtt',
    -0,
    2 ** 53,
  ),
);

describe('claims and header changed and encoded again under the old signature', () => {
  const headerNames = [
    'alg',
    'kid',
    'typ',
    'jwk',
    'jku',
    'x5u',
    'x5c',
    'crit',
    'b64',
    'zip',
    'cty',
    '__proto__',
  ];
  const claimNames = [
    'iss',
    'sub',
    'client_id',
    'aud',
    'scp',
    'scope',
    'exp',
    'iat',
    'nbf',
    'jti',
    'group',
    'cnf',
    'stt',
    'toString',
  ];
  const change = (names: readonly string[]) =>
    fc.record({
      name: fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 8 })),
      value: anyJson,
      drop: fc.boolean(),
    });

  test.each([
    ['header', 0, headerNames],
    ['claims', 1, claimNames],
  ] as const)('%s', async (_part, index, names) => {
    const changes = fc.array(change(names), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(anyToken, changes, async (token, made) => {
        const parts = token.split('.');
        const members = new Map<string, unknown>(
          Object.entries(JSON.parse(Buffer.from(parts[index] as string, 'base64url').toString()) as object),
        );
        for (const { name, value, drop } of made) {
          if (drop) members.delete(name);
          else members.set(name, value);
        }
        parts[index] = base64url(jsonOf(members));
        await expectRefused(Buffer.from(parts.join('.')), token);
      }),
      runs,
    );
  });

  test('with alg none and no signature', async () => {
    for (const token of tokens) {
      const [header = '', payload] = token.split('.');
      for (const alg of ['none', 'None', '', null, 'HS256']) {
        const members = JSON.parse(Buffer.from(header, 'base64url').toString()) as object;
        for (const signature of ['', 'AA', token.split('.')[2]]) {
          const made = `${base64url(JSON.stringify({ ...members, alg }))}.${payload}.${signature}`;
          await expectRefused(Buffer.from(made), token);
        }
      }
    }
  });
});

test('anything at all', async () => {
  const text = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 400 });
  const signed = fc
    .tuple(anyJson, anyJson, fc.uint8Array({ maxLength: 64 }))
    .map(([header, payload, signature]) =>
      [JSON.stringify(header) ?? '', JSON.stringify(payload) ?? '', signature].map(base64url).join('.'),
    );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.oneof(text, signed).map((made) => Buffer.from(made)),
  );
  await fc.assert(
    fc.asyncProperty(bytes, (made) => expectRefused(made, tokens[0] as string)),
    runs,
  );
});

// Of a Map, so that `__proto__` is a member like any other.
function jsonOf(members: ReadonlyMap<string, unknown>): string {
  const texts = Array.from(
    members,
    ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`,
  );
  return `{${texts.join(',')}}`;
}
