import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** The answer to a message, or the end of the process as an error. */
export async function ask(child: ChildProcess, message: object): Promise<unknown> {
  child.send(message);
  const ended = new AbortController();
  const onExit = () => ended.abort(new Error('the process ended'));
  child.once('exit', onExit);
  try {
    const [answer] = await once(child, 'message', { signal: ended.signal });
    return answer;
  } finally {
    child.off('exit', onExit);
  }
}
