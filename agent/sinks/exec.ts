import { spawn } from 'node:child_process';

/** Time for one run of the command, in milliseconds; then it is killed. */
export const EXEC_TIMEOUT_MS = 30_000;

/**
 * Runs the command in a shell with the token on its standard input, and nowhere else; what it prints goes to stderr.
 * Rejects when it ends otherwise than with 0 or not in time; the message holds nothing it printed.
 */
export function runWithToken(command: string, token: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    // A group of its own, so that what the shell started ends with it.
    const child = spawn(command, { shell: true, stdio: ['pipe', 2, 2], detached: true });
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    };
    const timer = setTimeout(kill, EXEC_TIMEOUT_MS);
    signal.addEventListener('abort', kill, { once: true });
    child.once('error', (error) => settle(error));
    child.once('exit', (code, by) => {
      settle(code === 0 ? undefined : new Error(`the command ended with ${code ?? by}`));
    });
    function settle(error: Error | undefined): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      if (error === undefined) resolve();
      else reject(error);
    }
    // It need not read it.
    child.stdin?.on('error', () => undefined).end(token);
  });
}
