/** MQTT 3.1.1 packets as bytes, made once: the generator of load must not be what is measured. */
import { generate } from 'mqtt-packet';

export interface Login {
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
}

export function connectBytes({ clientId, username, password }: Login): Buffer {
  return generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 600,
    clientId,
    username,
    password: Buffer.from(password),
  });
}

export function subscribeBytes(topic: string, qos: 0 | 1): Buffer {
  return generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
}

export const disconnectBytes = Buffer.from([0xe0, 0]);

/** Largest packet identifier used; ids go round. */
export const MAX_MESSAGE_ID = 60_000;

/** A PUBLISH; all of one topic and payload size are of one length. */
export function publishBytes(topic: string, payload: Buffer, qos: 0 | 1, messageId: number): Buffer {
  return generate({
    cmd: 'publish',
    topic,
    payload,
    qos,
    retain: false,
    dup: false,
    ...(qos === 0 ? {} : { messageId }),
  } as never);
}
