import type { Credentials } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { mosquittoOptionFile } from '../../../agent/sinks/mosquitto.ts';
import { deviceCredentials } from '../../support/agent-fixture.ts';

const credentials = deviceCredentials('https://issuer.example', 'mqtt://127.0.0.1:1884');
const linesOf = (more: Partial<Credentials>, flags: { brokerUrl?: string; clientId?: string } = {}) =>
  mosquittoOptionFile({ credentials: { ...credentials, ...more }, ...flags })('eyJ.a.b')
    .trim()
    .split('\n');

describe('the option file of mosquitto_pub', () => {
  test('names broker, client and token, an option a line', () => {
    expect(linesOf({})).toEqual(['-h 127.0.0.1', '-p 1884', '-i d1', '-u d1', '-V mqttv311', '-P eyJ.a.b']);
  });

  test('takes what the command line sets over the credentials', () => {
    const lines = linesOf({}, { brokerUrl: 'mqtt://[::1]', clientId: 'd1.pub' });
    expect(lines).toEqual(['-h ::1', '-p 1883', '-i d1.pub', '-u d1', '-V mqttv311', '-P eyJ.a.b']);
  });

  test('leaves the address open where there is none', () => {
    const { broker: _, ...without } = credentials;
    expect(mosquittoOptionFile({ credentials: without })('t')).toBe('-i d1\n-u d1\n-V mqttv311\n-P t\n');
  });

  test('over TLS it names whom to trust and the certificate to show', () => {
    const broker = { url: 'mqtts://broker.example', ca_file: '/etc/device/the ca.pem' };
    const auth = { method: 'tls_client_auth', cert_file: '/etc/d.pem', key_file: '/etc/d.key' } as const;
    expect(linesOf({ broker, auth }).slice(0, 5)).toEqual([
      '-h broker.example',
      '-p 8883',
      '--cafile /etc/device/the ca.pem',
      '--cert /etc/d.pem',
      '--key /etc/d.key',
    ]);
    expect(linesOf({ broker: { url: broker.url } })[2]).toBe('--tls-use-os-certs');
  });

  test('a token of more than Mosquitto reads of a line is refused, not cut', () => {
    const textOf = mosquittoOptionFile({ credentials });
    expect(textOf('x'.repeat(1_019))).toContain(`-P ${'x'.repeat(1_019)}\n`);
    expect(() => textOf('x'.repeat(1_020))).toThrow(expect.objectContaining({ code: 'sink_failed' }));
  });

  test.each<[string, Partial<Credentials>]>([
    [
      'a path of more than Mosquitto reads',
      { broker: { url: 'mqtts://b.example', ca_file: 'a'.repeat(1_024) } },
    ],
    ['a WebSocket', { broker: { url: 'wss://broker.example' } }],
    [
      'a file whose name has a line end',
      { broker: { url: 'mqtts://b.example', ca_file: 'a\n-h evil.example' } },
    ],
  ])('refuses %s', (_what, more) => {
    expect(() => linesOf(more)).toThrow(TypeError);
  });
});
