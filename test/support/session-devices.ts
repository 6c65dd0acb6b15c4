/**
 * Holds many devices with persistent sessions in a process of its own. Told `{ start }` it makes them; what they see
 * comes back in batches, with how they are.
 */
import type { HistoryEvent } from './history.ts';
import { createSessionDevice, type DeviceTask, type Hop, type SessionDevice } from './session-device.ts';

export type DevicesCommand =
  | { readonly do: 'start'; readonly ports: readonly number[]; readonly devices: readonly DeviceTask[] }
  | { readonly do: 'connect' | 'subscribe_later' | 'narrow' | 'pause'; readonly spreadMs: number }
  /** Each device sends a message this often. */
  | { readonly do: 'publish'; readonly everyMs: number }
  /** Each device sends so many at once. */
  | { readonly do: 'burst'; readonly messages: number; readonly spreadMs: number }
  /** That share of them goes to another broker. */
  | { readonly do: 'hop'; readonly how: Hop; readonly share: number; readonly spreadMs: number }
  | { readonly do: 'stop' };

export interface DevicesReport {
  readonly events: readonly HistoryEvent[];
  readonly connected: number;
  /** Messages without their last acknowledgement. */
  readonly unfinished: number;
  /** Subscriptions without one. */
  readonly unsubscribed: number;
}

const REPORT_EVERY_MS = 200;

let devices: SessionDevice[] = [];
let events: HistoryEvent[] = [];
let publishing: NodeJS.Timeout | undefined;

function report(): void {
  const all = devices.map((device) => device.status());
  const total = (count: (status: (typeof all)[number]) => number) =>
    all.reduce((sum, status) => sum + count(status), 0);
  process.send?.({
    events,
    connected: total(({ isConnected }) => Number(isConnected)),
    unfinished: total(({ unfinished }) => unfinished),
    unsubscribed: total(({ unsubscribed }) => unsubscribed),
  } satisfies DevicesReport);
  events = [];
}

/** Each device acts at its own time within `spreadMs`. */
function spread(spreadMs: number, act: (device: SessionDevice) => void, share = 1): void {
  for (const device of devices) {
    if (Math.random() < share) setTimeout(() => act(device), Math.random() * spreadMs);
  }
}

process.on('message', (command: DevicesCommand) => {
  switch (command.do) {
    case 'start':
      devices = command.devices.map((task) =>
        createSessionDevice(task, command.ports, (event) => events.push(event)),
      );
      setInterval(report, REPORT_EVERY_MS);
      break;
    case 'connect':
      spread(command.spreadMs, (device) => device.connect());
      break;
    case 'subscribe_later':
      spread(command.spreadMs, (device) => device.subscribeLater());
      break;
    case 'narrow':
      spread(command.spreadMs, (device) => device.narrow());
      break;
    case 'publish': {
      // One timer for all: a device each tick, so that the load is even.
      let next = 0;
      let dueMs = performance.now();
      publishing = setInterval(() => {
        for (; dueMs <= performance.now(); dueMs += command.everyMs / devices.length) {
          devices[next % devices.length]?.publish();
          next += 1;
        }
      }, 5);
      break;
    }
    case 'burst':
      spread(command.spreadMs, (device) => {
        for (let n = 0; n < command.messages; n += 1) device.publish();
      });
      break;
    case 'pause':
      clearInterval(publishing);
      break;
    case 'hop':
      spread(command.spreadMs, (device) => device.hop(command.how), command.share);
      break;
    case 'stop':
      for (const device of devices) device.close();
      process.exit();
  }
});
