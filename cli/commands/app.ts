import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { FleetgateError } from '@fleetgate/shared';
import type { AdminClient, AppView } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { type Format, formatJson, formatRecord, formatTable } from '../output.ts';

/**
 * Makes an app. Answers it with its admin key only where no file holds that; the file is opened before, so that a key
 * which cannot be kept is never made.
 */
export async function createApp(
  admin: AdminClient,
  appId: string,
  out: string | undefined,
): Promise<AppView> {
  if (out === undefined) return admin.createApp(appId);
  const file = openNew(out);
  try {
    const { admin_key, ...app } = await admin.createApp(appId);
    if (admin_key === undefined) {
      throw new FleetgateError('server_error', 'the issuer answered without an admin key');
    }
    writeSync(file, `${admin_key}\n`);
    fsyncSync(file);
    return app;
  } catch (error) {
    rmSync(out, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** The app as `--format` asks. */
export function formatApp(app: AppView, format: Format): string {
  return format === 'json' ? formatJson(app) : formatRecord({ ...app });
}

/** The apps as `--format` asks. */
export function formatApps(apps: readonly AppView[], format: Format): string {
  return format === 'json'
    ? formatJson(apps)
    : formatTable(
        ['app_id', 'issuer'],
        apps.map((app) => ({ ...app })),
      );
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const mend = code === 'EEXIST' ? 'remove it or name another file' : 'name a file that can be written';
    throw new UsageError(`cannot write ${path} (${code}); ${mend} with --out`);
  }
}
