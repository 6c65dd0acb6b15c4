import { randomUUID } from 'node:crypto';
import type { Link } from './link.ts';
import type { ClusterSettings } from './options.ts';
import type { LeftWill } from './publisher.ts';
import type { Store } from './redis.ts';

/** How often a broker says that it lives, in the time after which it is dead. */
const BEATS = 5;

/** After which another may publish the wills of a dead broker, when the one that began has died too. */
const BURIAL_SECONDS = 30;

/** One broker among those of a Redis, under a name of its own for each time it joins. */
export interface Membership {
  readonly id: string;
  join(store: Store): Promise<void>;
  leave(): Promise<void>;
  stop(): void;
}

interface Context {
  readonly settings: ClusterSettings;
  readonly link: () => Link;
  /** Publishes a will that a dead broker left, unless its owner is back. */
  readonly publishWill: (left: LeftWill, will: string) => Promise<void>;
  /** Told by the one that takes the place of a dead broker. */
  readonly onDead: (broker: string) => void;
  readonly onError: (error: unknown) => void;
}

export function createMembership({ settings, link, publishWill, onDead, onError }: Context): Membership {
  const { prefix, deadAfterSeconds } = settings;
  let id = '';
  let timer: NodeJS.Timeout | undefined;

  async function beat(): Promise<void> {
    const [known, ...dead] = (await link().store().beat(prefix, id, '', deadAfterSeconds)) as string[];
    // It stood still for so long that others took its place.
    if (known === '0') link().drop('taken for dead by other brokers');
    for (const broker of dead) {
      if (broker === id) continue;
      onDead(broker);
      await bury(broker);
    }
  }

  async function bury(dead: string): Promise<void> {
    const store = link().store();
    const wills = (await store.bury(prefix, dead, id, BURIAL_SECONDS)) as string[];
    if (wills.length === 0) return;
    let failures = 0;
    for (let at = 0; at + 1 < wills.length; at += 2) {
      const clientId = wills[at] as string;
      try {
        await publishWill({ broker: dead, id: clientId }, wills[at + 1] as string);
      } catch (error) {
        // Left for the next burial; it is not to stand before those behind it.
        if (!link().isUp) throw error;
        onError(error);
        failures += 1;
        continue;
      }
      await store.hdel(`${prefix}wills:${dead}`, clientId);
    }
    if (failures === 0) await store.buried(prefix, dead);
  }

  return {
    get id() {
      return id;
    },
    async join(store) {
      id = randomUUID();
      await store.beat(prefix, id, '1', deadAfterSeconds);
      clearInterval(timer);
      timer = setInterval(
        () => {
          if (!link().isUp) return;
          // With the link what was asked is lost too, and the link has said so.
          beat().catch((error) => link().isUp && onError(error));
        },
        (deadAfterSeconds * 1000) / BEATS,
      );
    },
    async leave() {
      clearInterval(timer);
      await link().store().buried(prefix, id);
    },
    stop: () => clearInterval(timer),
  };
}
