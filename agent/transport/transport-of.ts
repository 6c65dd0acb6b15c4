import type { Credentials } from '@fleetgate/shared';
import { coapTransport } from './coap.ts';
import { httpTransport } from './http.ts';
import type { TokenTransport } from './token-transport.ts';

/**
 * How a device with these credentials fetches its tokens: over CoAP with an OSCORE context, else over HTTP.
 * @throws as {@link coapTransport} and {@link httpTransport} do
 */
export function transportOf(credentials: Credentials): TokenTransport {
  return credentials.auth.method === 'oscore' ? coapTransport(credentials) : httpTransport(credentials);
}
