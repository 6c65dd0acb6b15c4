import { checkCredentials, formatCredentials, parseCredentials } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const base = { version: 1, client_id: 'device-1', issuer: 'https://auth.example.com' };
const secret = 'hunter2';
const basic = { method: 'client_secret_basic', client_secret: secret };
const masterSecret = '0123456789abcdef0123456789abcdef';
const oscore = { method: 'oscore', master_secret: masterSecret, sender_id: '01', recipient_id: '02' };
const coap = { token_endpoint: 'coap://auth.example.com/token' };

test.each([
  ['client_secret_basic', { ...base, auth: basic }],
  ['private_key_jwt', { ...base, auth: { method: 'private_key_jwt', private_jwk: { kty: 'EC' } } }],
  [
    'tls_client_auth',
    { ...base, auth: { method: 'tls_client_auth', cert_file: 'c.pem', key_file: 'k.pem' } },
  ],
  ['oscore', { ...base, ...coap, auth: oscore }],
  [
    'oscore with a salt and a context',
    { ...base, ...coap, auth: { ...oscore, master_salt: '0a', id_context: '0b' } },
  ],
  [
    'all there is',
    {
      ...base,
      auth: basic,
      token_endpoint: 'https://auth.example.com/oauth/token',
      scope: 'telemetry.write',
      audience: 'mqtt',
      broker: { url: 'mqtts://mqtt.example.com', ca_file: 'ca.pem' },
    },
  ],
])('%s is read, and written as it was', (_shape, credentials) => {
  expect(parseCredentials(JSON.stringify(credentials))).toEqual(credentials);
  expect(parseCredentials(formatCredentials(checkCredentials(credentials)))).toEqual(credentials);
});

test.each<[string, unknown]>([
  ['no object', null],
  ['a list', [base]],
  ['another version', { ...base, version: 2, auth: basic }],
  ['no auth', base],
  ['auth null', { ...base, auth: null }],
  ['an unknown key', { ...base, auth: basic, scopes: secret }],
  ['an unknown key of auth', { ...base, auth: { ...basic, secret } }],
  ['an unknown key of broker', { ...base, auth: basic, broker: { url: 'mqtt://h', password: secret } }],
  ['a key named __proto__', JSON.parse(`{"__proto__":"${secret}"}`)],
  ['a method that does not exist', { ...base, auth: { method: secret } }],
  ['a method every object has', { ...base, auth: { method: 'constructor' } }],
  ['a client id with a slash', { ...base, client_id: `${secret}/a`, auth: basic }],
  ['an issuer that is no web address', { ...base, issuer: `ftp://${secret}`, auth: basic }],
  ['a broker that is no MQTT address', { ...base, auth: basic, broker: { url: `http://${secret}` } }],
  ['a secret that is no text', { ...base, auth: { ...basic, client_secret: [secret] } }],
  ['an empty secret', { ...base, auth: { ...basic, client_secret: '' } }],
  ['a key that is no object', { ...base, auth: { method: 'private_key_jwt', private_jwk: secret } }],
  ['tls_client_auth without a key file', { ...base, auth: { method: 'tls_client_auth', cert_file: secret } }],
  ['oscore without a recipient', { ...base, ...coap, auth: { ...oscore, recipient_id: undefined } }],
  ['oscore with a short secret', { ...base, ...coap, auth: { ...oscore, master_secret: 'abcd' } }],
  [
    'oscore with a secret in upper case',
    { ...base, ...coap, auth: { ...oscore, master_secret: masterSecret.toUpperCase() } },
  ],
  [
    'oscore with an id of eight bytes',
    { ...base, ...coap, auth: { ...oscore, sender_id: '0011223344556677' } },
  ],
  ['oscore with half a byte', { ...base, ...coap, auth: { ...oscore, recipient_id: '0' } }],
  ['oscore over https', { ...base, auth: oscore, token_endpoint: 'https://auth.example.com/token' }],
  ['oscore without an endpoint', { ...base, auth: oscore }],
  ['a secret over coap', { ...base, ...coap, auth: basic }],
])('%s is refused, and no value is quoted', (_shape, credentials) => {
  expect(() => checkCredentials(credentials)).toThrow(
    expect.objectContaining({ code: 'credentials_invalid', message: expect.not.stringContaining(secret) }),
  );
});

test('what is read is no longer the caller’s object', () => {
  const given = { ...base, auth: { ...basic } };
  const read = checkCredentials(given);
  given.auth.client_secret = 'other';
  expect(read.auth).toEqual(basic);
});
