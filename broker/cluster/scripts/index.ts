import { beat, buried, bury } from './brokers.ts';
import { acknowledge, noteReceived, noteReleased, noteSent, refuseQueued } from './messages.ts';
import { publishMessage } from './publish.ts';
import {
  addFilters,
  claimSession,
  cutSession,
  keepToken,
  releaseSession,
  removeFilters,
} from './sessions.ts';

/**
 * What is done in Redis, each act in one step: a script runs whole or not at all, and nothing of another broker comes
 * between. None is named as a command of Redis. All keys begin with KEYS[1]; there is one primary, so the others are named in the script (no Redis Cluster).
 *
 * | key | what |
 * |---|---|
 * | `seq` | number of the last message on the bus; also the id of what is queued |
 * | `live` | by client id, the connection that owns the session: `BROKER:NUMBER` |
 * | `kept`, `kept-of` | by client id, the token of a session that is kept, and its client and issuer |
 * | `sessions` | by client and issuer, how many are kept |
 * | `at:BROKER`, `wills:BROKER` | by client id, what `sessions list` shows, and the will |
 * | `brokers` | brokers by when they last said that they live |
 * | `subs:ID` | filters of a session that is kept, with their QoS |
 * | `changes`, `changed` | filters added lately, and the number of the last of them |
 * | `changes-bytes`, `changes-gone` | how long they are, and the number of the last that is there no more |
 * | `queue:ID`, `queued` | messages for a session, by number, and their bytes by client id |
 * | `sent:ID` | packet identifiers under way to a client, with the number of the message, after `r` once it was received |
 * | `in:ID` | packet identifiers of QoS 2 messages that wait for their PUBREL |
 * | `retained`, `retained-owner`, `retained-count`, `retained-bytes` | by topic the message and its owner; by owner how much |
 */
export const scripts = Object.freeze({
  publishMessage,
  claimSession,
  releaseSession,
  keepToken,
  addFilters,
  removeFilters,
  noteSent,
  noteReceived,
  acknowledge,
  refuseQueued,
  noteReleased,
  beat,
  bury,
  buried,
  cutSession,
});
