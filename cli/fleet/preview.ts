import { createHash } from 'node:crypto';
import type { AdminClient } from '../admin-client.ts';
import { onOneLine } from '../output.ts';
import { surveyRows } from './device-rows.ts';
import type { Progress } from './progress.ts';
import { batches, openSource, type ProvisionRequest, withRetries } from './provision.ts';

/** Failures that are told; a file with more has something in common. */
const MAX_TOLD = 10;

export interface Preview {
  readonly summary: { readonly total: number; readonly would_create: number; readonly failed: number };
  /** The first of them, with their line. */
  readonly failures: readonly string[];
}

/** Asks of all rows what they would make; makes nothing. */
export async function previewAll(
  admin: AdminClient,
  { template, source: from, start = 1 }: Pick<ProvisionRequest, 'template' | 'source' | 'start'>,
  begin: (job: { readonly total: number; readonly done: number }) => Progress,
): Promise<Preview> {
  const source = openSource(from);
  const { total } = await surveyRows(source);
  const progress = begin({ total, done: 0 });
  const seen = new Set<number>();
  const failures: string[] = [];
  let [first_row, failed] = [1, 0];
  const fail = (line: number, row: number, why: string) => {
    failed += 1;
    const where = line === 0 ? `device ${row}` : `${source.name}:${line}`;
    if (failed <= MAX_TOLD) failures.push(onOneLine(`${where}: ${why}`));
  };
  try {
    for await (const batch of batches(source)) {
      const asked = { first_row, start, rows: batch.map(({ row }) => row) };
      const results = await withRetries(() => admin.previewRows(template, asked));
      for (const [i, { row, client_id, error_description = '' }] of results.entries()) {
        const line = batch[i]?.line ?? 0;
        if (client_id === undefined) fail(line, row, error_description);
        else if (isTwice(seen, client_id))
          fail(line, row, `client '${client_id}' comes from a row before too`);
      }
      first_row += batch.length;
      progress.update(first_row - 1, failed);
    }
  } finally {
    progress.stop();
  }
  if (failed > MAX_TOLD) failures.push(`and ${failed - MAX_TOLD} more`);
  return { summary: { total, would_create: total - failed, failed }, failures };
}

/** Remembered by 48 bits of a hash: a million ids are 40 MB, and one of 280 is told wrongly of so many. */
function isTwice(seen: Set<number>, clientId: string): boolean {
  const mark = createHash('sha256').update(clientId).digest().readUIntBE(0, 6);
  if (seen.has(mark)) return true;
  seen.add(mark);
  return false;
}
