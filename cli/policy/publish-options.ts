import type { PublishAttempt } from '@fleetgate/broker/policy';

/** How a message may be sent: one for all that no rule tells apart. */
export interface PublishOption {
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** For people; empty where no rule limits the size. */
  readonly size: string;
  attempt(topic: string): PublishAttempt;
}

/** Every QoS, retained or not, and a size for each stretch between the limits. */
export function publishOptions(limits: readonly number[]): PublishOption[] {
  const bounds = Array.from(new Set(limits.filter(Number.isFinite))).sort((a, b) => a - b);
  const sizes = [0, ...bounds.map((bound) => bound + 1)].map((bytes, i) => ({
    bytes,
    size: bounds.length === 0 ? '' : i === 0 ? `up to ${bounds[0]} bytes` : `${sizeWords(bounds, i)} bytes`,
  }));
  return ([0, 1, 2] as const).flatMap((qos) =>
    [false, true].flatMap((retain) =>
      sizes.map(({ bytes, size }) => ({
        qos,
        retain,
        size,
        attempt: (topic) => ({ action: 'publish', topic, qos, retain, bytes }),
      })),
    ),
  );
}

function sizeWords(bounds: readonly number[], i: number): string {
  const [from, to] = [(bounds[i - 1] ?? 0) + 1, bounds[i]];
  return to === undefined ? `${from} or more` : `${from} to ${to}`;
}

/**
 * In words which of all options these are, as "QoS 1, 2"; empty where it is all. Each word says what is so of every one
 * of them, parts that do not go together are told apart by semicolons.
 */
export function optionWords(options: readonly PublishOption[], all: readonly PublishOption[]): string {
  if (options.length === all.length) return '';
  const whole = boxWords(options, all);
  if (whole !== undefined) return whole;
  const parts = [false, true].flatMap((retain) => {
    const half = options.filter((one) => one.retain === retain);
    if (half.length === 0) return [];
    const box = boxWords(half, all);
    if (box !== undefined) return [box];
    return ([0, 1, 2] as const).flatMap((qos) => {
      const third = half.filter((one) => one.qos === qos);
      return third.length === 0 ? [] : [boxWords(third, all) ?? ''];
    });
  });
  return parts.join('; ');
}

/** Where they are each QoS of some with each retain of some and each size of some. */
function boxWords(options: readonly PublishOption[], all: readonly PublishOption[]): string | undefined {
  const qualities = distinct(options, ({ qos }) => qos);
  const retains = distinct(options, ({ retain }) => retain);
  const sizes = distinct(options, ({ size }) => size);
  if (qualities.length * retains.length * sizes.length !== options.length) return undefined;
  return [
    ...(qualities.length === 3 ? [] : [`QoS ${qualities.join(', ')}`]),
    ...(retains.length === 2 ? [] : [retains[0] ? 'retained' : 'not retained']),
    ...(sizes.length === distinct(all, ({ size }) => size).length ? [] : [sizes.join(', ')]),
  ].join(', ');
}

function distinct<Item, Value>(items: readonly Item[], of: (item: Item) => Value): Value[] {
  return Array.from(new Set(items.map(of)));
}
