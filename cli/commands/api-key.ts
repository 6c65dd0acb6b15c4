import { FleetgateError } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';
import type { ApiKeyRotation, ApiKeyView, NewApiKey } from '../api-key-client.ts';
import { UsageError } from '../exit.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatRecord, formatRows, type Row, type RowFormat } from '../output.ts';
import { openReplacedFile } from '../replaced-file.ts';

/** Makes an API key. Answers it with the key itself only where no file holds that. */
export async function createApiKey(
  admin: AdminClient,
  key: NewApiKey,
  out: string | undefined,
): Promise<ApiKeyView> {
  if (out === undefined) return admin.createApiKey(key);
  return intoNewFile(out, async () => {
    const { secret, shown } = apart(await admin.createApiKey(key));
    return { content: `${secret}\n`, answer: shown };
  });
}

/**
 * Replaces an API key. The file for it is opened before, so that a key which cannot be kept is never made, and put in
 * the place of the one that held the old key. Answers what was made, with the key only where no file holds it.
 */
export async function rotateApiKey(
  admin: AdminClient,
  name: string,
  rotation: ApiKeyRotation,
  out: string | undefined,
): Promise<ApiKeyView> {
  if (out === undefined) return admin.rotateApiKey(name, rotation);
  const file = openOut(out);
  try {
    const { secret, shown } = apart(await admin.rotateApiKey(name, rotation));
    file.replace(`${secret}\n`);
    return shown;
  } finally {
    file.discard();
  }
}

/** One key as `--format` asks. */
export function formatApiKey(key: ApiKeyView, format: RowFormat): string {
  if (format === 'csv') return formatApiKeys([key], format);
  return format === 'json' ? formatJson(key) : formatRecord(row(key));
}

/** The keys as `--format` asks. */
export function formatApiKeys(keys: readonly ApiKeyView[], format: RowFormat): string {
  if (format === 'json') return formatJson(keys);
  const columns = ['name', 'role', 'created_at', 'rotated_at', 'expires_at', 'last_used_at'];
  const hasSecret = keys.some(({ api_key }) => api_key !== undefined);
  return formatRows(format, keys.map(row), {
    table: columns,
    csv: [...columns, 'previous_until', ...(hasSecret ? ['api_key'] : [])],
  });
}

function apart({ api_key, ...shown }: ApiKeyView): { secret: string; shown: ApiKeyView } {
  if (api_key === undefined) throw new FleetgateError('server_error', 'the issuer answered without a key');
  return { secret: api_key, shown };
}

function openOut(path: string) {
  try {
    return openReplacedFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot write ${path} (${code}); name a file that can be written with --out`);
  }
}

const row = (key: ApiKeyView): Row => ({ ...key });
