import { generate } from 'mqtt-packet';
import { publishPacket } from '../support/broker-fixture.ts';
import { connectPacket } from '../support/broker-raw-client.ts';
import { A } from './victim.ts';

/** One packet of each kind MQTT has, also those only a server sends, each aimed at device A where it can be. */
export const onePacketOfEachKind: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ['the reserved type 0', Buffer.from([0x00, 0])],
  ['CONNECT', generate(connectPacket(A, 'x.y.z'))],
  ['CONNACK', Buffer.from([0x20, 2, 0, 0])],
  ['PUBLISH QoS 0', generate(publishPacket(`devices/${A}/x`, 'forged', { retain: true }))],
  ['PUBLISH QoS 1', generate(publishPacket(`devices/${A}/x`, 'forged', { qos: 1, retain: true }))],
  ['PUBLISH QoS 2', generate(publishPacket(`devices/${A}/x`, 'forged', { qos: 2, retain: true }))],
  ['PUBACK', Buffer.from([0x40, 2, 0, 1])],
  ['PUBREC', Buffer.from([0x50, 2, 0, 1])],
  ['PUBREL', Buffer.from([0x62, 2, 0, 1])],
  ['PUBCOMP', Buffer.from([0x70, 2, 0, 1])],
  ['SUBSCRIBE', generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 1 }] })],
  ['SUBACK', Buffer.from([0x90, 3, 0, 1, 0])],
  ['UNSUBSCRIBE', generate({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: [`devices/${A}/#`] })],
  ['UNSUBACK', Buffer.from([0xb0, 2, 0, 1])],
  ['PINGREQ', Buffer.from([0xc0, 0])],
  ['PINGRESP', Buffer.from([0xd0, 0])],
  ['DISCONNECT', Buffer.from([0xe0, 0])],
  ['AUTH', Buffer.from([0xf0, 0])],
];
