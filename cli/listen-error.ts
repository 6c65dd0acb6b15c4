import { FleetgateError } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';

/** An error of listening with the configuration key to change; any other error as it is. */
export function asListenError(error: unknown, config: Config): unknown {
  if (error instanceof FleetgateError && error.code === 'address_in_use') {
    // The broker knows its listeners' addresses, not their keys.
    const taken = listenersOf(config).find(
      ({ key, host, port }) =>
        key.startsWith('broker.') && error.message.startsWith(`port ${port} of ${host} `),
    );
    if (taken === undefined) return error;
    const words = `port ${taken.port} on ${taken.host} is in use; stop what holds it, or set ${taken.key}.port to another (0 picks a free one)`;
    return new FleetgateError('address_in_use', words);
  }
  const { syscall, code, address, port } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  if (!['listen', 'bind', 'getaddrinfo'].includes(syscall ?? '')) return error;
  // A name may have been resolved, so that only the port is as it was configured.
  const at = listenersOf(config).find((listener) => listener.host === address || listener.port === port);
  const where = address === undefined ? '' : ` on ${address}${port === undefined ? '' : ` port ${port}`}`;
  const mend = at === undefined ? 'change its host or port' : `change ${at.key}.host or ${at.key}.port`;
  return new FleetgateError('config_invalid', `cannot listen${where} (${code}); ${mend}`);
}

function listenersOf({ issuer, admin, broker }: Config): { key: string; host: string; port: number }[] {
  return [
    { key: 'issuer.http', ...issuer.http },
    { key: 'issuer.coap', ...issuer.coap },
    { key: 'admin', ...admin },
    ...broker.listeners.map(({ host, port }, index) => ({ key: `broker.listeners.${index}`, host, port })),
  ];
}
