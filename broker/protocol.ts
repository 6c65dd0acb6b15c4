/** How a connection came in. */
export type Protocol = 'mqtt' | 'mqtts' | 'ws' | 'wss';

export const protocols: readonly Protocol[] = ['mqtt', 'mqtts', 'ws', 'wss'];

/** As this process sees it: behind a proxy that ends TLS it is `mqtt` or `ws`. `carrier` is the socket underneath. */
export function protocolOf(carrier: object, isWebSocket: boolean): Protocol {
  const isEncrypted = (carrier as { encrypted?: boolean }).encrypted === true;
  if (isWebSocket) return isEncrypted ? 'wss' : 'ws';
  return isEncrypted ? 'mqtts' : 'mqtt';
}
