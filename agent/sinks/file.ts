import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Writes `text` to `path` so that a reader sees the old content or the new, never a part, also after a power
 * loss: to a temporary file beside it (0600), fsync, rename, fsync of the folder.
 */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    {
      await using file = await open(temporary, 'wx', 0o600);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(temporary, path);
    await using handle = await open(folder, 'r');
    await handle.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
