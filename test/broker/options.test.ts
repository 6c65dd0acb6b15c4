import { defaultLimits, fleetgate, type ListenerOptions, startBroker } from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';
import type { PluginOptions } from '../../broker/options.ts';
import { prepareOptions } from '../../broker/options.ts';
import { testIssuer } from '../support/broker-tokens.ts';

const issuer = testIssuer();
const good: PluginOptions = { issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }] };

test('the defaults are those of the documentation', () => {
  expect(prepareOptions(good)).toMatchObject({
    audience: 'mqtt',
    clockSkewSeconds: 5,
    clientIdBinding: 'exact',
    maxCachedTokens: 100_000,
  });
  expect(defaultLimits).toEqual({
    maxConnectBytes: 16_384,
    maxPacketBytes: 1_048_576,
    maxConnections: 100_000,
    maxConnectionsPerAddress: 10_000,
    maxSessionsPerClient: 100,
    maxSubscriptionsPerClient: 100,
    maxQueuedMessagesPerClient: 1_000,
    maxQueuedBytesPerClient: 16_777_216,
    maxUnreadBytesPerClient: 8_388_608,
    maxRetainedMessagesPerClient: 10_000,
    maxRetainedBytesPerClient: 16_777_216,
    maxRetainedMessages: 100_000,
    maxKeepaliveSeconds: 1_200,
    connectTimeoutSeconds: 10,
    drainTimeoutSeconds: 10,
  });
});

test('the options are frozen once they are checked', () => {
  const settings = prepareOptions(good);
  expect([settings, settings.limits, settings.issuers].every(Object.isFrozen)).toBe(true);
});

test('a misspelled option names the right one', () => {
  expect(() => fleetgate({ ...good, clockSkewSecond: 5 } as PluginOptions)).toThrow(/clockSkewSeconds/);
  expect(() => fleetgate({ ...good, limits: { maxConnection: 5 } as never })).toThrow(
    /limits\.maxConnections/,
  );
});

describe('a mistake is a TypeError', () => {
  test.each<[string, Record<string, unknown>]>([
    ['no issuers', { issuers: undefined }],
    ['an issuer twice', { issuers: [...good.issuers, ...good.issuers] }],
    ['an issuer without a name', { issuers: [{ ...good.issuers[0], issuer: '' }] }],
    ['an algorithm nobody knows', { issuers: [{ ...good.issuers[0], algorithms: ['none'] }] }],
    ['a profile nobody knows', { issuers: [{ ...good.issuers[0], profile: 'other' }] }],
    ['keys at no address', { issuers: [{ issuer: 'x', keys: { jwksUri: 'file:///etc/passwd' } }] }],
    ['an empty audience', { audience: '' }],
    ['a negative skew', { clockSkewSeconds: -1 }],
    ['a skew of an hour', { clockSkewSeconds: 3600 }],
    ['a skew that is no number', { clockSkewSeconds: Number.NaN }],
    ['a binding nobody knows', { clientIdBinding: 'any' }],
    ['a limit of 0', { limits: { maxConnections: 0 } }],
    ['a limit that is no number', { limits: { maxConnections: '1' } }],
    ['an unknown answer to a refused publish', { deniedPublish: 'ignore' }],
    ['an onDecision that is no function', { onDecision: true }],
    ['an audit that is no function', { audit: 'audit.jsonl' }],
    ['fewer than no tokens to remember', { maxCachedTokens: -1 }],
    ['half a token to remember', { maxCachedTokens: 0.5 }],
  ])('%s', (_what, more) => {
    expect(() => fleetgate({ ...good, ...more } as PluginOptions)).toThrow(TypeError);
  });
});

describe('a mistake in a listener is a TypeError', () => {
  const files = { certFile: 'server.pem', keyFile: 'server.key' };

  test.each<[string, Record<string, unknown>]>([
    ['an unknown protocol', { protocol: 'quic' }],
    ['a misspelled option', { protcol: 'mqtt' }],
    ['mqtts without files', { protocol: 'mqtts' }],
    ['wss without files', { protocol: 'wss' }],
    ['files for mqtt', { protocol: 'mqtt', tls: files }],
    ['files for ws', { protocol: 'ws', tls: files }],
    ['a misspelled file', { protocol: 'mqtts', tls: { ...files, caFile: 'ca.pem' } }],
    ['no key file', { protocol: 'mqtts', tls: { certFile: 'server.pem' } }],
    [
      'client certificates without an authority',
      { protocol: 'mqtts', tls: { ...files, requireClientCert: true } },
    ],
    ['PROXY headers from anyone', { proxyProtocol: true }],
    ['PROXY headers from nobody', { proxyProtocol: true, proxyFrom: [] }],
    ['proxies without PROXY headers', { proxyFrom: ['10.0.0.1'] }],
    ['a proxy that is no address', { proxyProtocol: true, proxyFrom: ['lb.example.com'] }],
  ])('%s', async (_what, more) => {
    const listener = { protocol: 'mqtt', host: '127.0.0.1', port: 0, ...more } as ListenerOptions;
    await expect(startBroker({ ...good, listeners: [listener] })).rejects.toThrow(TypeError);
  });
});
