import { execFile } from 'node:child_process';

/** What is told to the service manager that started this process, sd_notify(3). Nothing where none did. */
export interface ServiceManager extends Disposable {
  /** The service is up; told once. */
  ready(): void;
  /** One line of what it does, for `systemctl status`. */
  status(text: string): void;
  stopping(): void;
}

export interface ServiceManagerOptions {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Told, once, that nobody can be told. */
  readonly onProblem: (text: string) => void;
  /** Default: the program `systemd-notify`, as Node has no datagrams over Unix sockets. */
  readonly send?: (assignments: readonly string[], done: (error: Error | null) => void) => void;
}

/**
 * Talks to systemd by `NOTIFY_SOCKET`; the unit needs `NotifyAccess=all`. With `WATCHDOG_USEC` it also says, twice in
 * that time, that the event loop turns: a process that hangs is started anew.
 */
export function serviceManager({
  environment = process.env,
  onProblem,
  send = systemdNotify,
}: ServiceManagerOptions): ServiceManager {
  if (environment['NOTIFY_SOCKET'] === undefined) return silent;
  let isReady = false;
  let hasFailed = false;
  let lastStatus: string | undefined;

  function tell(...assignments: string[]): void {
    send(assignments, (error) => {
      if (error === null || hasFailed) return;
      hasFailed = true;
      onProblem(`the service manager cannot be told: ${error.message.split('\n', 1)[0]}`);
    });
  }

  const periodMs = watchdogMs(environment);
  const watchdog = periodMs === undefined ? undefined : setInterval(() => tell('WATCHDOG=1'), periodMs / 2);
  watchdog?.unref();

  return {
    ready() {
      if (isReady) return;
      isReady = true;
      tell('READY=1');
    },
    status(text) {
      if (text === lastStatus) return;
      lastStatus = text;
      tell(`STATUS=${text}`);
    },
    stopping: () => tell('STOPPING=1'),
    [Symbol.dispose]: () => clearInterval(watchdog),
  };
}

const silent: ServiceManager = { ready() {}, status() {}, stopping() {}, [Symbol.dispose]() {} };

/** sd_watchdog_enabled(3): it may be meant for another process. */
function watchdogMs({
  WATCHDOG_USEC: microseconds,
  WATCHDOG_PID: pid,
}: NonNullable<ServiceManagerOptions['environment']>): number | undefined {
  if (pid !== undefined && pid !== String(process.pid)) return undefined;
  const ms = Number(microseconds) / 1000;
  return ms > 0 && Number.isFinite(ms) ? ms : undefined;
}

function systemdNotify(assignments: readonly string[], done: (error: Error | null) => void): void {
  execFile('systemd-notify', assignments, { timeout: 10_000 }, (error) => done(error));
}
