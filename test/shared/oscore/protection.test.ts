import {
  type CoapContent,
  createReplayWindow,
  decodeContent,
  decodeOptionValue,
  deriveContext,
  encodeContent,
  encodeOptionValue,
  MAX_SEQUENCE_NUMBER,
  OSCORE_OPTION,
  OscoreError,
  partialIvOf,
  protectRequest,
  protectResponse,
  REPLAY_WINDOW_SIZE,
  sequenceNumberOf,
  unprotectRequest,
  unprotectResponse,
} from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const secret = Buffer.alloc(16, 7);
const client = deriveContext({
  masterSecret: secret,
  senderId: Buffer.from('a'),
  recipientId: Buffer.from('b'),
});
const server = deriveContext({
  masterSecret: secret,
  senderId: Buffer.from('b'),
  recipientId: Buffer.from('a'),
});
const post: CoapContent = {
  code: 2,
  options: [
    { number: 3, value: Buffer.from('issuer') },
    { number: 11, value: Buffer.from('token') },
    { number: 12, value: Buffer.of(19) },
  ],
  payload: Buffer.from('scope'),
};

const bytesOf = (maxLength: number) => fc.uint8Array({ maxLength });
const contents = fc.record({
  code: fc.integer({ min: 1, max: 255 }),
  options: fc.array(
    fc.record({ number: fc.constantFrom(3, 7, 11, 11, 12, 14, 60, 252, 500, 3000), value: bytesOf(300) }),
    {
      maxLength: 6,
    },
  ),
  payload: bytesOf(400),
});
/** Of what has no order among options of different numbers. */
const plain = ({ code, options, payload }: CoapContent) => ({
  code,
  options: options.toSorted((a, b) => a.number - b.number).map(({ number, value }) => [number, [...value]]),
  payload: [...payload],
});

function problemOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof OscoreError) return error.problem;
    throw error;
  }
  return 'taken';
}

describe('what one side protects', () => {
  test('the other reads, requests and responses, whatever they hold', () => {
    fc.assert(
      fc.property(
        contents,
        contents,
        fc.integer({ min: 0, max: MAX_SEQUENCE_NUMBER }),
        fc.option(fc.integer({ min: 0, max: 1000 }), { nil: undefined }),
        (request, response, sequence, own) => {
          const { message, binding } = protectRequest(client, request, sequence);
          const read = unprotectRequest(server, message, createReplayWindow());
          expect(plain(read.request)).toEqual(plain(request));
          expect(read.sequenceNumber).toBe(sequence);
          const answer = protectResponse(server, response, read.binding, own);
          expect(plain(unprotectResponse(client, answer, binding))).toEqual(plain(response));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('says nothing outside but where it goes', () => {
    const { message } = protectRequest(client, post, 0);
    expect(message.code).toBe(2);
    expect(message.options.map(({ number }) => number).sort((a, b) => a - b)).toEqual([3, OSCORE_OPTION]);
    expect(Buffer.from(message.payload).includes('scope')).toBe(false);
  });

  test('is refused with any bit changed, and then does not move the window', () => {
    const { message } = protectRequest(client, post, 5);
    const window = createReplayWindow();
    for (let bit = 0; bit < message.payload.length * 8; bit += 1) {
      const payload = Buffer.from(message.payload);
      payload[bit >> 3] = (payload[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(problemOf(() => unprotectRequest(server, { ...message, payload }, window))).toBe(
        'not_decrypted',
      );
    }
    expect(problemOf(() => unprotectRequest(server, message, window))).toBe('taken');
    expect(problemOf(() => unprotectRequest(server, message, window))).toBe('replayed');
  });

  test('is read under its own sequence number, kid and request alone', () => {
    const { message, binding } = protectRequest(client, post, 5);
    const withOption = (value: Uint8Array) => ({
      ...message,
      options: message.options.map((one) => (one.number === OSCORE_OPTION ? { ...one, value } : one)),
    });
    const other = withOption(encodeOptionValue({ partialIv: partialIvOf(6), kid: client.senderId }));
    expect(problemOf(() => unprotectRequest(server, other, createReplayWindow()))).toBe('not_decrypted');
    const stranger = withOption(encodeOptionValue({ partialIv: partialIvOf(5), kid: Buffer.from('c') }));
    expect(problemOf(() => unprotectRequest(server, stranger, createReplayWindow()))).toBe('malformed');
    const answer = protectResponse(server, { code: 69, options: [], payload: Buffer.from('x') }, binding);
    const { binding: another } = protectRequest(client, post, 6);
    expect(problemOf(() => unprotectResponse(client, answer, another))).toBe('not_decrypted');
    // Nor is a request taken for a response.
    expect(problemOf(() => unprotectResponse(client, message, binding))).toBe('not_decrypted');
  });

  test('is read without what was added outside', () => {
    const { message } = protectRequest(client, post, 5);
    const added = { ...message, options: [...message.options, { number: 12, value: Buffer.of(60) }] };
    const { request } = unprotectRequest(server, added, createReplayWindow());
    expect(request.options.filter(({ number }) => number === 12)).toEqual([
      { number: 12, value: Buffer.of(19) },
    ]);
  });
});

test.each<[string, Uint8Array[]]>([
  ['none', []],
  ['two', [Buffer.of(0x09, 0, 0x61), Buffer.of(0x09, 0, 0x61)]],
  ['one without a kid', [Buffer.of(0x01, 0)]],
  ['one without a partial IV', [Buffer.of(0x08, 0x61)]],
  ['one without anything', [Buffer.alloc(0)]],
])('of OSCORE options %s is malformed for a request', (_what, values) => {
  const options = values.map((value) => ({ number: OSCORE_OPTION, value }));
  const message = { ...protectRequest(client, post, 0).message, options };
  expect(problemOf(() => unprotectRequest(server, message, createReplayWindow()))).toBe('malformed');
});

describe('the OSCORE option', () => {
  test('is read as it was written', () => {
    const values = fc.record({
      partialIv: fc.option(fc.integer({ min: 0, max: MAX_SEQUENCE_NUMBER }).map(partialIvOf), {
        nil: undefined,
      }),
      kidContext: fc.option(bytesOf(20), { nil: undefined }),
      kid: fc.option(bytesOf(7), { nil: undefined }),
    });
    fc.assert(
      fc.property(values, (value) => {
        const read = decodeOptionValue(encodeOptionValue(value));
        for (const name of ['partialIv', 'kidContext', 'kid'] as const) {
          expect(read[name] && [...read[name]]).toEqual(value[name] && [...value[name]]);
        }
      }),
    );
  });

  test.each([
    ['flags of zero that are there', '00'],
    ['a reserved flag', '89'],
    ['a partial IV of six bytes', '0e000000000001'],
    ['a partial IV that is cut off', '0901'.slice(0, 2)],
    ['a partial IV with a leading zero', '0a0001'],
    ['a kid context that is cut off', '190108aabb'],
    ['a kid context without its length', '1101'],
    ['more than its flags say', '010161'],
  ])('with %s is malformed', (_what, value) => {
    expect(problemOf(() => decodeOptionValue(Buffer.from(value, 'hex')))).toBe('malformed');
  });

  test('no bytes make the reader throw anything else', () => {
    fc.assert(
      fc.property(bytesOf(40), (value) => {
        expect(['taken', 'malformed']).toContain(problemOf(() => decodeOptionValue(value)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('sequence numbers', () => {
  test.each([
    [0, '00'],
    [1, '01'],
    [255, 'ff'],
    [256, '0100'],
    [MAX_SEQUENCE_NUMBER, 'ffffffffff'],
  ])('%i is %s', (number, spelled) => {
    expect(Buffer.from(partialIvOf(number)).toString('hex')).toBe(spelled);
    expect(sequenceNumberOf(Buffer.from(spelled, 'hex'))).toBe(number);
  });

  test.each([-1, 0.5, MAX_SEQUENCE_NUMBER + 1, Number.NaN])('there is no %d', (number) => {
    expect(() => protectRequest(client, post, number)).toThrow(RangeError);
  });
});

test('the replay window takes each number once, and none that is too old to tell', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 200 }), (numbers) => {
      const window = createReplayWindow();
      const taken = new Set<number>();
      for (const number of numbers) {
        const highest = Math.max(-1, ...taken);
        const isFresh = !taken.has(number) && number > highest - REPLAY_WINDOW_SIZE;
        expect(window.isFresh(number)).toBe(isFresh);
        if (!isFresh) continue;
        window.accept(number);
        taken.add(number);
      }
    }),
    { numRuns: 300 },
  );
});

test('the window holds for the largest numbers, too', () => {
  const window = createReplayWindow();
  for (const number of [0, MAX_SEQUENCE_NUMBER, MAX_SEQUENCE_NUMBER - 31]) {
    expect(window.isFresh(number)).toBe(true);
    window.accept(number);
    expect(window.isFresh(number)).toBe(false);
  }
  expect(window.isFresh(MAX_SEQUENCE_NUMBER - 32)).toBe(false);
});

test.each([
  ['a short secret', { masterSecret: Buffer.alloc(15) }],
  ['a long sender id', { senderId: Buffer.alloc(8) }],
  ['a long recipient id', { recipientId: Buffer.alloc(8) }],
  ['the same id for both', { recipientId: Buffer.from('a') }],
  ['an id context that is too long', { idContext: Buffer.alloc(256) }],
])('%s makes no context', (_what, changes) => {
  const given = { masterSecret: secret, senderId: Buffer.from('a'), recipientId: Buffer.from('b') };
  expect(() => deriveContext({ ...given, ...changes })).toThrow(RangeError);
});

describe('options and payload of a CoAP message', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(contents, (content) => {
        const read = decodeContent(encodeContent(content));
        expect(plain({ code: content.code, ...read })).toEqual(plain(content));
      }),
    );
  });

  test.each([
    ['a marker without a payload', 'ff'],
    ['a reserved delta', 'f0'],
    ['a reserved length', '0f'],
    ['an option that is cut off', 'b374'],
    ['an extended delta that is cut off', 'd0'],
    ['a number beyond 65535', 'e0ffff'],
  ])('with %s are malformed', (_what, content) => {
    expect(problemOf(() => decodeContent(Buffer.from(content, 'hex')))).toBe('malformed');
  });

  test('no bytes make the reader throw anything else', () => {
    fc.assert(
      fc.property(bytesOf(60), (content) => {
        expect(['taken', 'malformed']).toContain(problemOf(() => decodeContent(content)));
      }),
      { numRuns: 2000 },
    );
  });
});
