import {
  FleetgateError,
  matches,
  parseSessionEvent,
  SESSION_TOPIC,
  type SessionGrants,
  TOKEN_TOPIC,
} from '@fleetgate/shared';
import type { AccessToken } from './access-token.ts';
import type { Connection, IncomingMessage } from './connection.ts';
import { wait } from './waiting.ts';

/** How long an answer to a new token is waited for; after that the agent reconnects with it. */
const RENEWAL_TIMEOUT_MS = 10_000;

/** How long after SUBACK the broker's word is waited for; it sends it right behind. */
const EVENT_TIMEOUT_MS = 500;

/** A broker that closes the connection on a filter it does not know is asked this often, and then left alone. */
const MAX_CLOSURES = 3;

/** What the broker says of this session: whether it renews in place, and what the session may do. */
export interface BrokerSession {
  /** A connection is open: asks to be told. Resolves when it was, or when there is nothing to wait for. */
  online(connection: Connection): Promise<void>;
  offline(): void;
  /** Whether the message was for this, and nobody else. */
  take(message: IncomingMessage): boolean;
  /** Whether the token took the place of the one before; else the agent has to reconnect with it. */
  renew(token: AccessToken, closed: Promise<unknown>): Promise<boolean>;
  /** @throws FleetgateError `broker_refused` for a topic the broker said is not granted: it would close the connection */
  checkPublish(topic: string): void;
}

export function createBrokerSession(): BrokerSession {
  let connection: Connection | undefined;
  /** Unset: not told on this connection. */
  let grants: SessionGrants | undefined;
  /** Connections in a row that ended when the broker was asked. */
  let closures = 0;
  /** It took the filter and told nothing: another kind of broker, not worth waiting for. */
  let isSilent = false;
  let told: () => void = () => undefined;
  let answered: ((isRenewed: boolean) => void) | undefined;

  async function ask(of: Connection): Promise<void> {
    const isTold = new Promise<void>((resolve) => {
      told = resolve;
    });
    try {
      const code = await of.subscribe(SESSION_TOPIC, 1);
      closures = 0;
      if (code >= 128 || isSilent) return;
    } catch {
      closures += 1;
      return;
    }
    const over = new AbortController();
    await Promise.race([isTold, wait(EVENT_TIMEOUT_MS, over.signal)]);
    over.abort();
    isSilent = connection === of && grants === undefined;
  }

  return Object.freeze({
    online(to: Connection) {
      connection = to;
      grants = undefined;
      return closures < MAX_CLOSURES ? ask(to) : Promise.resolve();
    },
    offline() {
      connection = undefined;
      grants = undefined;
    },
    take({ topic, payload }: IncomingMessage) {
      if (topic !== SESSION_TOPIC) return false;
      const event = parseSessionEvent(payload.toString());
      if (event?.event === 'session' || event?.event === 'renewed') grants = event.grants;
      told();
      if (event?.event === 'renewed') answered?.(true);
      if (event?.event === 'refused') answered?.(false);
      return true;
    },
    async renew(token: AccessToken, closed: Promise<unknown>) {
      if (connection === undefined || grants === undefined) return false;
      const over = new AbortController();
      const answer = new Promise<boolean>((resolve) => {
        answered = resolve;
      });
      try {
        const sent = connection.publishOnce(TOKEN_TOPIC, Buffer.from(token.value)).then(
          () => answer,
          () => false,
        );
        const late = wait(RENEWAL_TIMEOUT_MS, over.signal).then(() => false);
        return await Promise.race([sent, late, closed.then(() => false)]);
      } finally {
        answered = undefined;
        over.abort();
      }
    },
    checkPublish(topic: string) {
      if (grants === undefined || grants.publish.some((filter) => matches(filter, topic))) return;
      throw new FleetgateError('broker_refused', `'${topic}' is not within the token's grants`);
    },
  });
}
