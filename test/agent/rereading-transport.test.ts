import { type Credentials, FleetgateError, OAuthError } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { rereadingTransport } from '../../agent/rereading-transport.ts';

const never = new AbortController().signal;
const refused = new OAuthError('invalid_client', 'refused');
const away = new FleetgateError('token_request_failed', 'away');

const withSecret = (secret: string, more: Partial<Credentials> = {}): Credentials => ({
  version: 1,
  client_id: 'd1',
  issuer: 'https://issuer.example',
  auth: { method: 'client_secret_basic', client_secret: secret },
  ...more,
});

/** A credentials file, and an issuer that takes some secrets. */
function setUp() {
  const state = { file: withSecret('old') as Credentials | Error, good: new Set(['old']), isAway: false };
  const asked: string[] = [];
  const notes: string[] = [];
  const transport = rereadingTransport(withSecret('old'), {
    read: async () => {
      if (state.file instanceof Error) throw state.file;
      return state.file;
    },
    note: (text) => notes.push(text),
    transportOf:
      ({ auth }) =>
      async () => {
        const { client_secret: secret } = auth as { client_secret: string };
        asked.push(secret);
        if (state.isAway) throw away;
        if (!state.good.has(secret)) throw refused;
        return { access_token: `by-${secret}`, token_type: 'Bearer', expires_in: 900 };
      },
  });
  const ask = async () => (await transport.request({}, never)).access_token;
  return { state, asked, notes, transport, ask };
}

test('what is in the file is read again when the issuer refuses, and not before', async () => {
  const { state, asked, ask } = setUp();
  state.file = withSecret('new');
  state.good = new Set(['old', 'new']);
  expect(await ask()).toBe('by-old');
  state.good = new Set(['new']);
  expect(await ask()).toBe('by-new');
  expect(await ask()).toBe('by-new');
  expect(asked).toEqual(['old', 'old', 'new', 'new']);
});

test('when told, the new is tried first, and used from then on', async () => {
  const { state, asked, transport, ask } = setUp();
  state.file = withSecret('new');
  state.good = new Set(['old', 'new']);
  expect(await transport.reread()).toBe(true);
  expect(await ask()).toBe('by-new');
  expect(await ask()).toBe('by-new');
  expect(await transport.reread()).toBe(false);
  expect(asked).toEqual(['new', 'new']);
});

test('until the new is good the old is used: a file that came before its secret was registered', async () => {
  const { state, asked, notes, transport, ask } = setUp();
  state.file = withSecret('new');
  await transport.reread();
  expect(await ask()).toBe('by-old');
  state.good = new Set(['new']);
  expect(await ask()).toBe('by-new');
  expect(asked).toEqual(['new', 'old', 'new']);
  expect(notes).toEqual([expect.stringContaining('refuses the new'), expect.stringContaining('in use')]);
});

test('while the issuer is away neither is given up', async () => {
  const { state, asked, transport, ask } = setUp();
  state.file = withSecret('new');
  state.good = new Set(['new']);
  state.isAway = true;
  await transport.reread();
  await expect(ask()).rejects.toBe(away);
  state.isAway = false;
  expect(await ask()).toBe('by-new');
  expect(asked).toEqual(['new', 'new']);
});

test('where both are refused each is asked once, and the refusal is told', async () => {
  const { state, asked, transport, ask } = setUp();
  state.good = new Set();
  await expect(ask()).rejects.toBe(refused);
  expect(asked).toEqual(['old']);
  state.file = withSecret('new');
  await transport.reread();
  await expect(ask()).rejects.toBe(refused);
  expect(asked).toEqual(['old', 'new', 'old']);
});

test('a file that was put back is no change', async () => {
  const { state, asked, transport, ask } = setUp();
  state.file = withSecret('new');
  expect(await transport.reread()).toBe(true);
  state.file = withSecret('old');
  expect(await transport.reread()).toBe(false);
  expect(await ask()).toBe('by-old');
  expect(asked).toEqual(['old']);
});

test.each<[string, Credentials | Error, string]>([
  [
    'cannot be read',
    new FleetgateError('credentials_invalid', 'device.json is not JSON'),
    'device.json is not JSON',
  ],
  ['is of another client', withSecret('new', { client_id: 'd2' }), 'restart'],
  ['is of another issuer', withSecret('new', { issuer: 'https://other.example' }), 'restart'],
])('a file that %s is noted, and those in use go on', async (_what, file, words) => {
  const { state, notes, transport, ask } = setUp();
  state.file = file;
  expect(await transport.reread()).toBe(false);
  expect(notes).toEqual([expect.stringContaining(words)]);
  expect(await ask()).toBe('by-old');
});
