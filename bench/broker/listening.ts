import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves when a process accepts connections; rejects when it ends before, or does not. */
export async function untilListening(port: number, child: ChildProcess, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isOpen) return;
    if (child.exitCode !== null || performance.now() > endMs) {
      throw new Error(`${child.spawnfile} does not listen (exit code ${child.exitCode})`);
    }
    await sleep(100);
  }
}

/** Ends a process that was started here, and waits. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([ended, sleep(5_000)]);
  child.kill('SIGKILL');
}
