import type { ReasonCode } from '@fleetgate/shared';
import type { ConnectPacket } from 'aedes';
import type { Guard } from './guard.ts';
import { looksDecoded } from './text.ts';

/** A protocol version the host answers with return code 1 and closes [MQTT-3.1.2-2]. */
const UNSUPPORTED_VERSION = 0;

/**
 * What of a CONNECT breaks MQTT 3.1.1 and the host takes: text that is no text, a password without a user name
 * [MQTT-3.1.2-22], MQTT 3.1 and the bridge bit (both no protocol level of 3.1.1).
 */
export const connectForm: Guard = {
  name: 'a malformed CONNECT closes the connection',
  connect(_client, packet) {
    const problem = connectProblem(packet);
    if (problem !== undefined) return problem;
    if (packet.protocolVersion !== 4 || (packet as { bridgeMode?: boolean }).bridgeMode === true) {
      packet.protocolVersion = UNSUPPORTED_VERSION as 4;
    }
    return undefined;
  },
};

function connectProblem({ clientId, username, password, will }: ConnectPacket): ReasonCode | undefined {
  if (!looksDecoded(clientId)) return 'client_id_invalid';
  if (username !== undefined && !looksDecoded(username)) return 'user_name_mismatch';
  if (password !== undefined && username === undefined) return 'protocol_refused';
  if (will !== undefined && will !== null) {
    if (!looksDecoded(will.topic)) return 'topic_malformed';
    if (will.qos === undefined || !(will.qos <= 2)) return 'protocol_refused';
  }
  return undefined;
}
