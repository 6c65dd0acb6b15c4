import type { Guard } from './guard.ts';

/**
 * A SUBACK has one return code for each filter of the SUBSCRIBE [MQTT-3.9.3-1]. The host drops filters named twice
 * before it counts, by assigning a shorter list to the packet; here that assignment does nothing. It then treats
 * them one after the other, as §3.8.4 wants.
 */
export const duplicateFilters: Guard = {
  name: 'a filter named twice is answered twice',
  packet(packet) {
    if (packet.cmd !== 'subscribe') return;
    const all = packet.subscriptions ?? [];
    if (new Set(all.map(({ topic }) => topic)).size === all.length) return;
    Object.defineProperty(packet, 'subscriptions', { enumerable: true, get: () => all, set: () => {} });
  },
};
