import { describe, expect, test } from 'vitest';
import type { Fault, HistoryEvent } from './history.ts';
import { checkHistory } from './history-checker.ts';

const grants = ['g/+/t'];

/** A publisher `p` and a subscriber `s`, and one message that is delivered as it should be. */
function history({ qos = 1, code = 2 }: { qos?: 1 | 2; code?: number } = {}): HistoryEvent[] {
  return [
    { kind: 'connected', atMs: 0, device: 'p', broker: 0, grants },
    { kind: 'connected', atMs: 0, device: 's', broker: 1, grants },
    { kind: 'subscribed', atMs: 10, device: 's', filter: 'g/+/t', code, isGranted: true },
    { kind: 'sent', atMs: 100, device: 'p', message: 'p:1', topic: 'g/p/t', qos },
    { kind: 'acknowledged', atMs: 110, device: 'p', message: 'p:1', broker: 0 },
    ...(qos === 2 ? [{ kind: 'completed', atMs: 115, device: 'p', message: 'p:1' } as const] : []),
    received(),
  ];
}

const received = (topic = 'g/p/t'): HistoryEvent => ({
  kind: 'received',
  atMs: 120,
  device: 's',
  message: 'p:1',
  topic,
  qos: 1,
  broker: 1,
});

const check = (events: readonly HistoryEvent[], faults: readonly Fault[] = []) =>
  checkHistory({ events, faults }, { forgottenMs: 50 });

const without = (kind: HistoryEvent['kind'], events: readonly HistoryEvent[]) =>
  events.filter((event) => event.kind !== kind);

test.each([1, 2] as const)('a history without fault has no violation at QoS %d', (qos) => {
  expect(check(history({ qos }))).toEqual({
    lost: [],
    doubled: [],
    reordered: [],
    outside: [],
    misjudged: [],
    unfinished: [],
    forgotten: [],
    counts: { sent: 1, acknowledged: 1, owed: 1, received: 1, repeated: 0 },
  });
});

test.each(['g/p/t', 'g/+/t', 'g/#', '+/p/t', '#', 'g/p/t/#', '+/+/+'])(
  'a subscriber of %s misses what was acknowledged',
  (filter) => {
    const events = without('received', history()).map((event) =>
      event.kind === 'subscribed' ? { ...event, filter } : event,
    );
    expect(check(events).lost).toEqual([
      { message: 'p:1', qos: 1, subscriber: 's', broker: 0, acknowledgedMs: 110 },
    ]);
  },
);

test.each(['g/p', 'g/+', 'g/p/t/+', 'h/#', '+/t'])('a subscriber of %s is owed nothing', (filter) => {
  const events = without('received', history()).map((event) =>
    event.kind === 'subscribed' ? { ...event, filter } : event,
  );
  expect(check(events)).toMatchObject({ lost: [], counts: { owed: 0 } });
});

test('what was not acknowledged is not lost, and unfinished', () => {
  const events = without('acknowledged', without('received', history()));
  expect(check(events)).toMatchObject({ lost: [], unfinished: ['p:1'] });
});

test('what was sent before the subscription was acknowledged is owed to nobody', () => {
  const events = without('received', history()).map((event) =>
    event.kind === 'subscribed' ? { ...event, atMs: 105 } : event,
  );
  expect(check(events)).toMatchObject({ lost: [], counts: { owed: 0 } });
});

test('what grants of the subscriber did not cover at some time is not owed to it', () => {
  const narrowed: HistoryEvent = { kind: 'connected', atMs: 130, device: 's', broker: 0, grants: [] };
  expect(check([...without('received', history()), narrowed])).toMatchObject({ lost: [] });
});

test('a message of QoS 2 that has no PUBCOMP is unfinished', () => {
  expect(check(without('completed', history({ qos: 2 }))).unfinished).toEqual(['p:1']);
});

test('of QoS 2 from end to end a second copy is a violation, else it is counted', () => {
  const twice = { message: 'p:1', topic: 'g/p/t', subscriber: 's', broker: 1 };
  expect(check([...history({ qos: 2 }), received()]).doubled).toEqual([twice]);
  for (const mixed of [history({ qos: 2, code: 1 }), history({ qos: 1 })]) {
    expect(check([...mixed, received()])).toMatchObject({ doubled: [], counts: { repeated: 1 } });
  }
});

test('a receipt is outside a grant by the token of the connection it came on', () => {
  const narrowed: HistoryEvent = { kind: 'connected', atMs: 115, device: 's', broker: 0, grants: ['g/s/t'] };
  const [last, ...others] = history().reverse();
  const events = [...others.reverse(), narrowed, last as HistoryEvent];
  expect(check(history()).outside).toEqual([]);
  expect(check(events).outside).toEqual([{ message: 'p:1', topic: 'g/p/t', subscriber: 's', broker: 1 }]);
  expect(check([...history(), received('g/p/private')]).outside).toHaveLength(1);
});

test.each([
  [128, true, 1],
  [128, false, 0],
  [1, true, 0],
  [1, false, 1],
])('a return code %d to a filter that is granted: %s', (code, isGranted, misjudged) => {
  const event: HistoryEvent = { kind: 'subscribed', atMs: 20, device: 's', filter: 'x', code, isGranted };
  expect(check([...history(), event]).misjudged).toHaveLength(misjudged);
});

test('a session that was forgotten is told', () => {
  const event: HistoryEvent = { kind: 'session_forgotten', atMs: 20, device: 's', broker: 1 };
  expect(check([...history(), event]).forgotten).toEqual(['s']);
});

// The acknowledgement is at 110.
test.each<[string, Fault, boolean]>([
  ['Redis was killed behind it', { kind: 'redis_killed', beganMs: 111, endedMs: 200 }, true],
  ['that was later', { kind: 'redis_killed', beganMs: 161, endedMs: 200 }, false],
  ['that was before', { kind: 'redis_killed', beganMs: 110, endedMs: 200 }, false],
  ['Redis was frozen', { kind: 'redis_frozen', beganMs: 111, endedMs: 200 }, false],
  ['its broker was cut off', { kind: 'redis_link_cut', broker: 0, beganMs: 111, endedMs: 200 }, false],
  ['its broker was killed', { kind: 'broker_killed', broker: 0, beganMs: 111, endedMs: 200 }, false],
  ['its broker stood still', { kind: 'broker_frozen', broker: 0, beganMs: 111, endedMs: 200 }, false],
])('only what a killed Redis forgets explains a loss: %s', (_, fault, isExplained) => {
  for (const qos of [1, 2] as const) {
    const { lost } = check(without('received', history({ qos })), [fault]);
    expect(lost.map(({ explainedBy }) => explainedBy)).toEqual([isExplained ? fault.kind : undefined]);
  }
});

describe('order', () => {
  const sent = (message: string): HistoryEvent => ({
    kind: 'sent',
    atMs: 200,
    device: 'p',
    message,
    topic: 'g/p/t',
    qos: 1,
  });
  const acknowledged = (message: string): HistoryEvent => ({
    kind: 'acknowledged',
    atMs: 210,
    device: 'p',
    message,
    broker: 0,
  });
  const arrived = (message: string): HistoryEvent => ({ ...received(), message }) as HistoryEvent;
  const again: HistoryEvent = { kind: 'connected', atMs: 205, device: 'p', broker: 1, grants };
  const receipt = (message: string) => ({ message, topic: 'g/p/t', subscriber: 's', broker: 1 });

  test('what was published first through one connection comes first', () => {
    const events = [...history(), sent('p:2'), sent('p:3'), acknowledged('p:2'), acknowledged('p:3')];
    expect(check([...events, arrived('p:2'), arrived('p:3')]).reordered).toEqual([]);
    expect(check([...events, arrived('p:3'), arrived('p:2')]).reordered).toEqual([receipt('p:2')]);
  });

  test('what was sent before the subscription was acknowledged has no order', () => {
    const late: HistoryEvent = { ...(history()[2] as HistoryEvent), atMs: 205 };
    const both = [sent('p:2'), late, { ...sent('p:3'), atMs: 206 }, acknowledged('p:2'), acknowledged('p:3')];
    const events = [...without('subscribed', history()), ...both];
    expect(check([...events, arrived('p:3'), arrived('p:2')]).reordered).toEqual([]);
  });

  test('a second copy may come later', () => {
    const events = [...history(), sent('p:2'), acknowledged('p:2'), arrived('p:2'), received()];
    expect(check(events)).toMatchObject({ reordered: [], counts: { repeated: 1 } });
  });

  test('what another connection of the publisher acknowledged or sent has no order', () => {
    const resent = [sent('p:2'), sent('p:3'), again, acknowledged('p:2'), acknowledged('p:3')];
    expect(check([...history(), ...resent, arrived('p:3'), arrived('p:2')]).reordered).toEqual([]);
    const parted = [sent('p:2'), acknowledged('p:2'), again, sent('p:3'), acknowledged('p:3')];
    expect(check([...history(), ...parted, arrived('p:3'), arrived('p:2')]).reordered).toEqual([]);
  });
});
