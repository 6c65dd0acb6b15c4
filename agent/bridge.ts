import { isUtf8 } from 'node:buffer';
import { FleetgateError } from '@fleetgate/shared';
import type { Agent } from './agent.ts';
import type { IncomingMessage, QoS } from './connection.ts';

/** Bytes of one line: the largest payload the queue takes, in base64, and its frame. */
const MAX_LINE_BYTES = 12_582_912;

/** Lines whose message is not acknowledged yet, while connected; then no more is read. Offline the queue decides. */
const MAX_PENDING = 1000;

/** What a line asks for. */
type Order =
  | { kind: 'publish'; topic: string; payload: Buffer; qos: QoS; retain: boolean; id?: string | number }
  | { kind: 'subscribe'; filter: string; qos: QoS; id?: string | number };

const knownKeys = ['topic', 'payload', 'payload_base64', 'qos', 'retain', 'subscribe', 'id'];

/**
 * Publishes and subscribes as the lines of JSON say that come in:
 *
 *     {"topic":"devices/d1/t","payload":"21.5","qos":1,"id":7}      or "payload_base64", "retain":true
 *     {"subscribe":"devices/d1/commands/#","qos":1}
 *
 * and gives back lines: the messages that come, as `subscribe --format json` prints them, and for each order
 * `{"id":7,"ok":true}` if it has an id, or `{"line":1,"id":7,"error":"broker_refused"}`, with or without. Resolves at
 * the end of the input when every order has its answer.
 */
export async function bridgeLines(
  agent: Agent,
  input: AsyncIterable<Uint8Array>,
  writeLine: (line: string) => void,
): Promise<void> {
  const pending = new Set<Promise<void>>();
  const write = (value: object) => writeLine(`${JSON.stringify(value)}\n`);
  const filters = new Set<string>();
  let printed: IncomingMessage | undefined;
  let number = 0;
  for await (const line of linesOf(input)) {
    number += 1;
    if (line !== undefined && line.trim() === '') continue;
    const order = line === undefined ? undefined : parseOrder(line);
    if (order === undefined) {
      write({ line: number, error: 'line_invalid' });
      continue;
    }
    const answered = answer(order, number).finally(() => pending.delete(answered));
    pending.add(answered);
    while (pending.size >= MAX_PENDING && agent.phase === 'connected') await untilLess(pending, agent);
  }
  await Promise.all(pending);

  async function answer(order: Order, line: number): Promise<void> {
    const id = order.id === undefined ? {} : { id: order.id };
    try {
      if (order.kind === 'subscribe') await subscribe(order.filter, order.qos);
      else await agent.publish(order.topic, order.payload, { qos: order.qos, retain: order.retain });
      if (order.id !== undefined) write({ ...id, ok: true });
    } catch (error) {
      write({ line, ...id, error: error instanceof FleetgateError ? error.code : 'unknown' });
    }
  }

  // Asked for again it is the same subscription, not a second one.
  async function subscribe(filter: string, qos: QoS): Promise<void> {
    if (filters.has(filter)) return;
    filters.add(filter);
    try {
      await agent.subscribe(filter, { qos }, print);
    } catch (error) {
      filters.delete(filter);
      throw error;
    }
  }

  // A message that several filters match is told once for each time it came.
  function print(message: IncomingMessage): void {
    if (message !== printed) write(messageLine(message));
    printed = message;
  }
}

/** A message as JSON, its payload as text where it is UTF-8, else in base64. */
export function messageLine({ topic, payload, qos, retain }: IncomingMessage): object {
  const content = isUtf8(payload)
    ? { payload: payload.toString('utf8') }
    : { payload_base64: payload.toString('base64') };
  return { topic, qos, retain, ...content };
}

/** Until one order has its answer, or the broker is gone: then nothing will have one. */
function untilLess(pending: ReadonlySet<Promise<void>>, agent: Agent): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      agent.off('disconnected', done);
      resolve();
    };
    agent.on('disconnected', done);
    void Promise.race(pending).then(done);
  });
}

/** The lines; `undefined` for one that is too long, which is skipped. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string | undefined> {
  let parts: Buffer[] = [];
  let bytes = 0;
  const take = () => {
    const line = bytes > MAX_LINE_BYTES ? undefined : Buffer.concat(parts).toString('utf8');
    parts = [];
    bytes = 0;
    return line;
  };
  const add = (part: Buffer) => {
    bytes += part.length;
    if (bytes > MAX_LINE_BYTES) parts = [];
    else parts.push(part);
  };
  for await (const chunk of input) {
    let rest = Buffer.from(chunk);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      add(rest.subarray(0, end));
      yield take();
      rest = rest.subarray(end + 1);
    }
    add(rest);
  }
  if (bytes > 0) yield take();
}

function parseOrder(line: string): Order | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const order = value as Record<string, unknown>;
  if (Object.keys(order).some((key) => !knownKeys.includes(key))) return undefined;
  const { topic, subscribe: filter, qos = 0, retain = false, id } = order;
  if (qos !== 0 && qos !== 1 && qos !== 2) return undefined;
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') return undefined;
  const known = id === undefined ? {} : { id };
  if (typeof filter === 'string' && topic === undefined) return { kind: 'subscribe', filter, qos, ...known };
  const payload = payloadOf(order);
  if (typeof topic !== 'string' || filter !== undefined || payload === undefined) return undefined;
  if (typeof retain !== 'boolean') return undefined;
  return { kind: 'publish', topic, payload, qos, retain, ...known };
}

function payloadOf({ payload, payload_base64: base64 }: Record<string, unknown>): Buffer | undefined {
  if (typeof payload === 'string' && base64 === undefined) return Buffer.from(payload);
  if (typeof base64 !== 'string' || payload !== undefined) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  // Node skips what is no base64.
  return bytes.toString('base64') === base64 ? bytes : undefined;
}
