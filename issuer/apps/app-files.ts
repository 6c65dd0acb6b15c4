import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import { isAppId } from './app-id.ts';

/** The database of an app, in its directory. */
export const APP_DATABASE = 'fleetgate.db';

/** Apps that are being made: what is left of one after a crash was never answered. */
const UNFINISHED = '.unfinished';
/** Apps that were deleted, with their audit trails. */
const DELETED = '.deleted';

/** The directories of the apps, one each, 0700, named by its id. */
export interface AppFiles {
  /** Ids, in order, and what else lies there. */
  list(): { readonly appIds: readonly string[]; readonly strangers: readonly string[] };
  directory(appId: string): string;
  /**
   * Makes the directory of an app as `fill` fills it: whole, or not at all.
   * @throws FleetgateError `registry_unavailable`
   */
  create(appId: string, fill: (directory: string) => Promise<void>): Promise<void>;
  /**
   * Takes the directory of an app out of the way, and keeps it: the audit trail is in it. Gives back what undoes it.
   * @throws FleetgateError `registry_unavailable`
   */
  putAside(appId: string, atMs: number): () => void;
  /** Removes an app that was made a moment ago. */
  remove(appId: string): void;
}

/** @throws FleetgateError `registry_unavailable` */
export function openAppFiles(root: string): AppFiles {
  const unfinished = join(root, UNFINISHED);
  const deleted = join(root, DELETED);
  const directory = (appId: string) => join(root, appId);
  const move = (from: string, to: string) => {
    renameSync(from, to);
    for (const each of [from, to]) syncDirectory(dirname(each));
  };
  act(root, () => rmSync(unfinished, { recursive: true, force: true }));

  return {
    directory,
    list: () =>
      act(root, () => {
        if (!existsSync(root)) return { appIds: [], strangers: [] };
        const entries = readdirSync(root, { withFileTypes: true }).filter(({ name }) => name !== DELETED);
        const isApp = (entry: (typeof entries)[number]) => entry.isDirectory() && isAppId(entry.name);
        return {
          appIds: entries
            .filter(isApp)
            .map(({ name }) => name)
            .sort(),
          strangers: entries.filter((entry) => !isApp(entry)).map(({ name }) => name),
        };
      }),
    async create(appId, fill) {
      const made = join(unfinished, appId);
      act(unfinished, () => {
        for (const each of [root, unfinished, made]) makeDirectory(each);
      });
      try {
        await fill(made);
        act(root, () => move(made, directory(appId)));
      } finally {
        rmSync(unfinished, { recursive: true, force: true });
      }
    },
    putAside: (appId, atMs) =>
      act(deleted, () => {
        makeDirectory(deleted);
        const aside = join(deleted, `${appId}.${atMs}`);
        move(directory(appId), aside);
        return () => move(aside, directory(appId));
      }),
    remove: (appId) => rmSync(directory(appId), { recursive: true, force: true }),
  };
}

function act<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new FleetgateError('registry_unavailable', `cannot write ${place} (${code})`, { cause: error });
  }
}

// One level, so that each directory above has the mode its own maker gave it.
function makeDirectory(path: string): void {
  if (!existsSync(path)) mkdirSync(path, { mode: 0o700 });
}

// The name, too, must survive a power loss.
function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
