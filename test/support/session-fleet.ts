import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { HistoryEvent } from './history.ts';
import type { DeviceTask } from './session-device.ts';
import type { DevicesCommand, DevicesReport } from './session-devices.ts';

/** Devices with persistent sessions, in processes of their own, until the test ends. */
export interface SessionFleet {
  /** What all of them saw so far. */
  readonly events: readonly HistoryEvent[];
  tell(command: DevicesCommand): void;
  /** What the processes reported last, added up. */
  state(): Omit<DevicesReport, 'events'>;
}

/** `ports` are those of the brokers, of which each device takes any. */
export function startSessionFleet(
  tasks: readonly DeviceTask[],
  ports: readonly number[],
  processes: number,
): SessionFleet {
  const events: HistoryEvent[] = [];
  const children: ChildProcess[] = [];
  const reports: Omit<DevicesReport, 'events'>[] = [];
  let problem: string | undefined;
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
    for (const child of children) child.kill('SIGKILL');
  });

  for (let n = 0; n < processes; n += 1) {
    const child = fork(join(import.meta.dirname, 'session-devices.ts'), {
      execArgv: ['--conditions=@fleetgate/source'],
    });
    children.push(child);
    const devices = tasks.filter((_, i) => i % processes === n);
    reports.push({ connected: 0, unfinished: 0, unsubscribed: devices.length });
    child.on('message', ({ events: seen, ...report }: DevicesReport) => {
      for (const event of seen) events.push(event);
      reports[n] = report;
    });
    child.once('exit', (code) => {
      if (!isOver) problem = `devices ended with ${code}`;
    });
    child.send({ do: 'start', ports, devices } satisfies DevicesCommand);
  }

  const total = (count: (report: Omit<DevicesReport, 'events'>) => number) =>
    reports.reduce((sum, report) => sum + count(report), 0);
  return {
    events,
    tell(command) {
      if (problem !== undefined) throw new Error(problem);
      for (const child of children) child.send(command);
    },
    state() {
      if (problem !== undefined) throw new Error(problem);
      return {
        connected: total(({ connected }) => connected),
        unfinished: total(({ unfinished }) => unfinished),
        unsubscribed: total(({ unsubscribed }) => unsubscribed),
      };
    },
  };
}
