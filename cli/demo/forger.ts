import { once } from 'node:events';
import { connect } from 'node:net';

/**
 * A device that ignores its grants: connects with its own token and publishes to `topic`, in MQTT 3.1.1 bytes written
 * by hand, since the agent would refuse to. Resolves to what the broker did.
 */
export async function forge(
  brokerUrl: string,
  clientId: string,
  token: string,
  topic: string,
): Promise<'closed' | 'acknowledged' | 'refused to connect'> {
  const { hostname, port } = new URL(brokerUrl);
  const socket = connect({ host: hostname, port: Number(port) });
  try {
    await once(socket, 'connect');
    // §3.1: protocol name and level, user name, password and clean session, keep alive of 60 s.
    const connectFlags = Buffer.from([0xc2, 0, 60]);
    const body = [text('MQTT'), Buffer.from([4]), connectFlags, text(clientId), text(clientId), text(token)];
    socket.write(packet(0x10, body));
    const [connack] = (await once(socket, 'data')) as [Buffer];
    if (connack[3] !== 0) return 'refused to connect';
    // §3.3: QoS 1, packet identifier 1.
    socket.write(packet(0x32, [text(topic), Buffer.from([0, 1]), Buffer.from('forged')]));
    return await Promise.race([
      once(socket, 'close').then(() => 'closed' as const),
      once(socket, 'data').then(() => 'acknowledged' as const),
    ]);
  } finally {
    socket.destroy();
  }
}

function packet(type: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from([type, ...length]), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}
