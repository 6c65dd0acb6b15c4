import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchownSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A file that takes the place of another, or of none, once its content is whole and on the disk. */
export interface ReplacedFile {
  /** Writes the content, for its owner only, and puts it in place. What was there stays unless all of it went well. */
  replace(content: string): void;
  /** Removes what has not been put in place. */
  discard(): void;
}

/**
 * Opens the new file beside the one at `path`, with the same owner: that it can be written is known before anything
 * is made to be written into it. Throws what the file system says.
 */
export function openReplacedFile(path: string): ReplacedFile {
  const target = targetOf(path);
  const directory = dirname(target);
  const temporary = join(directory, `.${basename(target)}.${randomBytes(8).toString('hex')}`);
  const file = openSync(temporary, 'wx', 0o600);
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
  };
  try {
    keepOwner(target, file);
  } catch (error) {
    close();
    rmSync(temporary, { force: true });
    throw error;
  }
  return {
    replace(content) {
      writeFileSync(file, content);
      fsyncSync(file);
      close();
      renameSync(temporary, target);
      syncDirectory(directory);
    },
    discard() {
      close();
      rmSync(temporary, { force: true });
    },
  };
}

// What a link leads to is replaced and not the link.
function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

// Rotated by root, it must still be readable by the service whose file it is.
function keepOwner(target: string, file: number): void {
  const status = statSync(target, { throwIfNoEntry: false });
  if (status !== undefined && status.uid !== process.getuid?.()) fchownSync(file, status.uid, status.gid);
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
