import { FleetgateError } from '@fleetgate/shared';
import type { AdminClient, AppView } from '../admin-client.ts';
import { intoNewFile } from '../new-file.ts';
import { type Format, formatJson, formatRecord, formatRows, type RowFormat } from '../output.ts';

/** Makes an app. Answers it with its admin key only where no file holds that. */
export async function createApp(
  admin: AdminClient,
  appId: string,
  out: string | undefined,
): Promise<AppView> {
  if (out === undefined) return admin.createApp(appId);
  return intoNewFile(out, async () => {
    const { admin_key, ...answer } = await admin.createApp(appId);
    if (admin_key === undefined) {
      throw new FleetgateError('server_error', 'the issuer answered without an admin key');
    }
    return { content: `${admin_key}\n`, answer };
  });
}

/** The app as `--format` asks. */
export function formatApp(app: AppView, format: Format): string {
  return format === 'json' ? formatJson(app) : formatRecord({ ...app });
}

/** The apps as `--format` asks. */
export function formatApps(apps: readonly AppView[], format: RowFormat): string {
  if (format === 'json') return formatJson(apps);
  const columns = ['app_id', 'issuer'];
  return formatRows(
    format,
    apps.map((app) => ({ ...app })),
    { table: columns, csv: columns },
  );
}
