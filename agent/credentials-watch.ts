import { unwatchFile, watchFile } from 'node:fs';

/**
 * Time between two looks at the file, in milliseconds. By stat, not inotify: a file that is renamed over, a mounted
 * secret of a container and a network file system are seen, too.
 */
const LOOK_EVERY_MS = 5000;

/** Tells of each change of the file, until it is disposed of. It keeps no process alive. */
export function watchCredentials(path: string, onChange: () => Promise<void>): Disposable {
  const look = () => void onChange();
  watchFile(path, { interval: LOOK_EVERY_MS, persistent: false }, look);
  return { [Symbol.dispose]: () => unwatchFile(path, look) };
}
