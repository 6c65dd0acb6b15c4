import type { Command } from 'commander';
import type { AdminClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { actOnSelected, type SelectedFlags } from '../fleet/selected.ts';
import type { SelectionStep, StepView } from '../fleet-client.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';

/** Adds the options of {@link SelectedFlags} to a command that else takes client ids. */
export function withSelector(command: Command): Command {
  return command
    .option('--selector <selector>', 'all of these instead, as group=plant-7,hw!=rev-a')
    .option('--yes', 'with --selector: do not ask')
    .option('--dry-run', 'with --selector: say how many there are, and do nothing');
}

/**
 * Does an act on what a selector selects, if there is one. Whether there was.
 * @throws UsageError where ids are named too, or neither
 */
export async function didSelected(
  clientIds: readonly string[],
  flags: SelectedFlags & { format: RowFormat },
  admin: AdminClient,
  what: string,
  act: (step: SelectionStep) => Promise<StepView>,
): Promise<boolean> {
  if (flags.selector === undefined) {
    if (clientIds.length === 0) throw new UsageError('name client ids, or all of a kind with --selector');
    if (flags.yes || flags.dryRun) throw new UsageError('--yes and --dry-run belong to --selector');
    return false;
  }
  if (clientIds.length > 0) throw new UsageError('client ids and --selector exclude each other');
  const row = toRow(await actOnSelected(admin, flags, what, act));
  const csv = Object.keys(row);
  if (flags.format === 'json') process.stdout.write(formatJson(row));
  else
    process.stdout.write(
      flags.format === 'csv' ? formatRows('csv', [row], { table: csv, csv }) : formatRecord(row),
    );
  return true;
}
