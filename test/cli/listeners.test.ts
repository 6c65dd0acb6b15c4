import { expect, test } from 'vitest';
import { listenerOptions, listenerProblems } from '../../cli/config/listeners.ts';

const address = { host: '127.0.0.1', port: 1883 };
const files = { tls_cert_file: '/etc/server.pem', tls_key_file: '/etc/server.key' };

test.each([
  [{ protocol: 'mqtt' as const }, { protocol: 'mqtt' }],
  [
    { protocol: 'mqtts' as const, ...files },
    { protocol: 'mqtts', tls: { certFile: '/etc/server.pem', keyFile: '/etc/server.key' } },
  ],
  [
    { protocol: 'wss' as const, ...files, tls_client_ca_file: '/etc/ca.pem', require_client_cert: true },
    {
      protocol: 'wss',
      tls: {
        certFile: '/etc/server.pem',
        keyFile: '/etc/server.key',
        clientCaFile: '/etc/ca.pem',
        requireClientCert: true,
      },
    },
  ],
  [
    { protocol: 'ws' as const, proxy_protocol: true, proxy_from: ['10.0.0.0/8'] },
    { protocol: 'ws', proxyProtocol: true, proxyFrom: ['10.0.0.0/8'] },
  ],
  [{ protocol: 'ws' as const, proxy_protocol: false }, { protocol: 'ws' }],
])('%j is a listener without problems', (keys, options) => {
  const listener = { ...keys, ...address };
  expect(listenerProblems([listener])).toEqual([]);
  expect(listenerOptions(listener)).toEqual({ ...options, ...address });
});

test.each([
  [{ protocol: 'mqtts' as const }, ['tls_cert_file', 'tls_key_file']],
  [{ protocol: 'wss' as const, ...files, require_client_cert: true }, ['tls_client_ca_file']],
  [{ protocol: 'mqtt' as const, ...files }, ['tls_cert_file', 'tls_key_file']],
  [{ protocol: 'ws' as const, require_client_cert: true }, ['require_client_cert']],
  [{ protocol: 'mqtt' as const, proxy_protocol: true }, ['proxy_from']],
  [{ protocol: 'mqtt' as const, proxy_from: ['10.0.0.1'] }, ['proxy_from']],
  [{ protocol: 'mqtt' as const, proxy_protocol: true, proxy_from: ['::1', 'lb'] }, ['proxy_from.1']],
])('%j names each key that is wrong', (keys, names) => {
  const fine = { protocol: 'mqtt' as const, ...address };
  const problems = listenerProblems([fine, { ...keys, ...address }]);
  expect(problems).toHaveLength(names.length);
  for (const [index, name] of names.entries()) {
    expect(problems[index]?.startsWith(`broker.listeners.1.${name}`)).toBe(true);
  }
});
