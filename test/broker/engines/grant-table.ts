/** Scopes of the table beside direct ones, to be appended to a policy. */
export const tablePolicy = `  exact.read: { subscribe: [ { topic: d/a/#, broader: exact } ] }
  broad.read: { subscribe: [ { topic: d/a/#, broader: filter } ] }
  own: { publish: [ 'own/{client_id}/t' ] }
`;

export type Attempted = readonly [
  action: 'publish' | 'subscribe',
  of: string,
  exception?: 'narrower' | 'text' | 'malformed',
];

/**
 * What client `a` asks for, and what it then tries. An exception is `narrower` where RabbitMQ refuses what our broker
 * allows; the others are rows of "What is not enforced" by which it allows more: `text` for a dot or an asterisk in a
 * topic, `malformed` for a topic or filter that is none.
 */
export const grantTable: readonly { scope: string; attempts: readonly Attempted[] }[] = [
  {
    scope: 'mqtt:publish:d/a/t',
    attempts: [
      ['publish', 'd/a/t'],
      ['publish', 'd/a/t/'],
      ['publish', 'd/a/t/x'],
      ['publish', 'd/a'],
      ['publish', 'd/b/t'],
      ['publish', '/d/a/t'],
      ['publish', 'D/a/t'],
      ['publish', 'd/a/+'],
      ['publish', 'd.a.t', 'text'],
      ['subscribe', 'd/a/t'],
      ['subscribe', '#'],
    ],
  },
  {
    scope: 'mqtt:publish:d/a/#',
    attempts: [
      ['publish', 'd/a'],
      ['publish', 'd/a/'],
      ['publish', 'd/a/t'],
      ['publish', 'd/a/t/u/v'],
      ['publish', 'd/a//v'],
      ['publish', 'd/ab'],
      ['publish', 'd/ab/t'],
      ['publish', 'd'],
      ['publish', 'd/b/a'],
      ['publish', '$SYS/x'],
      ['publish', '$fleetgate/token'],
      ['publish', '$fleetgate/session'],
      ['publish', 'd/a.x', 'text'],
      ['publish', 'd/a/*'],
      ['publish', 'd/a/+', 'malformed'],
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a'],
    ],
  },
  {
    scope: 'mqtt:publish:/#',
    attempts: [
      ['publish', '/'],
      ['publish', '/x'],
      ['publish', 'x'],
      ['publish', '$SYS/x'],
    ],
  },
  {
    scope: 'mqtt:publish:%C3%BCber/a%20b/100%25/x',
    attempts: [
      ['publish', 'über/a b/100%/x'],
      ['publish', 'uber/a b/100%/x'],
      ['publish', 'über/a+b/100%/x'],
      ['publish', 'über/a%20b/100%/x'],
    ],
  },
  {
    scope: 'mqtt:publish:d/%252A/t',
    attempts: [
      ['publish', 'd/%2A/t'],
      ['publish', 'd/*/t'],
      ['publish', 'd/x/t'],
      ['publish', 'd/%252A/t'],
    ],
  },
  {
    scope: 'mqtt:publish:d/%7Bsub%7D/%C3%BC',
    attempts: [
      ['publish', 'd/{sub}/ü'],
      ['publish', 'd/a/ü'],
      ['publish', 'd/{sub}/u\u0308'],
      ['publish', 'd/{sub}/Ü'],
    ],
  },
  {
    scope: 'mqtt:subscribe:d//t',
    attempts: [
      ['subscribe', 'd//t'],
      ['subscribe', 'd/t'],
      ['subscribe', 'd/'],
      ['subscribe', 'd/+/t'],
      ['subscribe', 'd/#'],
    ],
  },
  {
    scope: 'mqtt:subscribe:d/a/t',
    attempts: [
      ['subscribe', 'd/a/t'],
      ['subscribe', 'd/a/+'],
      ['subscribe', 'd/+/t'],
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a/t/#'],
      ['subscribe', '+/+/+'],
      ['subscribe', '#'],
      ['subscribe', 'd.a.t', 'text'],
      ['publish', 'd/a/t'],
    ],
  },
  {
    scope: 'mqtt:subscribe:d/a/#',
    attempts: [
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a'],
      ['subscribe', 'd/a/+'],
      ['subscribe', 'd/a/t/u'],
      ['subscribe', 'd/a/+/u/#'],
      ['subscribe', 'd/#'],
      ['subscribe', 'd/+'],
      ['subscribe', 'd/+/t'],
      ['subscribe', 'd/b/#'],
      ['subscribe', '+/a/#'],
      ['subscribe', '$share/g/d/a/#'],
      ['subscribe', 'd/a/t#', 'malformed'],
      ['publish', 'd/a/t'],
    ],
  },
  {
    scope: 'mqtt:subscribe:d/a/+',
    attempts: [
      ['subscribe', 'd/a/+'],
      ['subscribe', 'd/a/*'],
      ['subscribe', 'd/a/t', 'narrower'],
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a/+/u'],
      ['subscribe', 'd/+/+'],
    ],
  },
  {
    scope: 'mqtt:subscribe:d/+/t/#',
    attempts: [
      ['subscribe', 'd/+/t/#'],
      ['subscribe', 'd/a/t/#', 'narrower'],
      ['subscribe', 'd/+/t', 'narrower'],
      ['subscribe', 'd/#'],
      ['subscribe', 'd/+/#'],
      ['subscribe', '+/+/t/#'],
    ],
  },
  {
    scope: 'mqtt:subscribe:#',
    attempts: [
      ['subscribe', '#'],
      ['subscribe', 'd/a', 'narrower'],
      ['subscribe', '+/#', 'narrower'],
      ['subscribe', '$SYS/#'],
      ['subscribe', '$fleetgate/#'],
    ],
  },
  {
    scope: 'exact.read',
    attempts: [
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a/t'],
      ['subscribe', 'd/a'],
      ['subscribe', 'd/#'],
    ],
  },
  {
    scope: 'broad.read',
    attempts: [
      ['subscribe', 'd/a/#'],
      ['subscribe', 'd/a/t'],
      ['subscribe', 'd/#', 'narrower'],
      ['subscribe', '#', 'narrower'],
    ],
  },
  {
    scope: 'own mqtt:subscribe:own/a/t',
    attempts: [
      ['publish', 'own/a/t'],
      ['publish', 'own/b/t'],
      ['subscribe', 'own/a/t'],
      ['subscribe', 'own/+/t'],
    ],
  },
];
