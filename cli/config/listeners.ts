import { addressRangeProblem, type ListenerOptions } from '@fleetgate/broker';
import type { Config } from './schema.ts';

type ListenerConfig = Config['broker']['listeners'][number];

/** A listener as the broker takes it. */
export function listenerOptions(listener: ListenerConfig): ListenerOptions {
  const { protocol, host, port, proxy_protocol, proxy_from } = listener;
  return {
    protocol: protocol as ListenerOptions['protocol'],
    host,
    port,
    ...(isTls(listener)
      ? {
          tls: {
            certFile: listener.tls_cert_file as string,
            keyFile: listener.tls_key_file as string,
            clientCaFile: listener.tls_client_ca_file,
            requireClientCert: listener.require_client_cert,
          },
        }
      : {}),
    ...(proxy_protocol === true ? { proxyProtocol: true, proxyFrom: proxy_from } : {}),
  };
}

/** What is wrong with the listeners beyond single keys: a line each, with its mend. */
export function listenerProblems(listeners: readonly ListenerConfig[]): string[] {
  return listeners.flatMap((listener, index) => {
    const key = `broker.listeners.${index}`;
    return [...tlsProblems(listener, key), ...proxyProblems(listener, key)];
  });
}

const tlsKeys = ['tls_cert_file', 'tls_key_file', 'tls_client_ca_file', 'require_client_cert'] as const;

function tlsProblems(listener: ListenerConfig, key: string): string[] {
  const { protocol } = listener;
  if (!isTls(listener)) {
    const secure = protocol === 'ws' ? 'wss' : 'mqtts';
    return tlsKeys
      .filter((name) => listener[name] !== undefined && listener[name] !== false)
      .map((name) => `${key}.${name} is of no use with protocol ${protocol}; use ${secure}, or leave it out`);
  }
  const problems = (['tls_cert_file', 'tls_key_file'] as const)
    .filter((name) => listener[name] === undefined)
    .map((name) => `${key}.${name} is missing; ${protocol} needs it`);
  if (listener.require_client_cert === true && listener.tls_client_ca_file === undefined) {
    problems.push(`${key}.tls_client_ca_file is missing; require_client_cert needs it`);
  }
  return problems;
}

function proxyProblems({ proxy_protocol = false, proxy_from = [] }: ListenerConfig, key: string): string[] {
  if (proxy_protocol && proxy_from.length === 0) {
    return [`${key}.proxy_from is missing; name the load balancers whose proxy_protocol is believed`];
  }
  if (!proxy_protocol && proxy_from.length > 0) {
    return [`${key}.proxy_from is of no use without proxy_protocol: true; set it, or leave proxy_from out`];
  }
  return proxy_from.flatMap((range, index) => {
    const problem = addressRangeProblem(range);
    return problem === undefined ? [] : [`${key}.proxy_from.${index}: ${problem}`];
  });
}

function isTls({ protocol }: ListenerConfig): boolean {
  return protocol === 'mqtts' || protocol === 'wss';
}
