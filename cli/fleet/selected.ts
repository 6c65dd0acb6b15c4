import { createInterface } from 'node:readline/promises';
import type { AdminClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import type { SelectionStep, StepView } from '../fleet-client.ts';
import { showProgress } from './progress.ts';
import { withRetries } from './provision.ts';

export interface SelectedFlags {
  selector?: string;
  yes?: boolean;
  dryRun?: boolean;
}

/** What became of those selected. */
export interface SelectedDone {
  readonly selected: number;
  readonly changed: number;
  readonly unchanged: number;
}

/**
 * Acts on all clients of a selector, a part at a time. Asks first on a terminal; elsewhere `--yes` says that it was
 * meant. An act that stops on the way can be done again: those that are so already stay so.
 * @throws UsageError; FleetgateError as the admin API refuses
 */
export async function actOnSelected(
  admin: AdminClient,
  { selector = '', yes = false, dryRun = false }: SelectedFlags,
  what: string,
  act: (step: SelectionStep) => Promise<StepView>,
): Promise<SelectedDone> {
  const selected = await countSelected(admin, selector);
  if (dryRun || selected === 0) return { selected, changed: 0, unchanged: 0 };
  if (!yes) await confirm(`${what} ${selected} clients`);
  const progress = showProgress({ what: 'clients', total: selected });
  let done = { changed: 0, unchanged: 0 };
  let cursor: string | undefined;
  try {
    do {
      const step: SelectionStep = { selector, ...(cursor !== undefined && { cursor }) };
      const { changed, unchanged, next_cursor } = await withRetries(() => act(step));
      done = { changed: done.changed + changed, unchanged: done.unchanged + unchanged };
      cursor = next_cursor;
      progress.update(done.changed + done.unchanged);
    } while (cursor !== undefined);
  } finally {
    progress.stop();
  }
  return { selected, ...done };
}

/** How many there are, asked a part at a time. */
export async function countSelected(admin: AdminClient, selector: string): Promise<number> {
  let count = 0;
  let cursor: string | undefined;
  do {
    const part = await admin.countClients({ selector, ...(cursor !== undefined && { cursor }) });
    count += part.count;
    cursor = part.next_cursor;
  } while (cursor !== undefined);
  return count;
}

async function confirm(what: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(`this would ${what}; add --yes if that is meant, or --dry-run`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${what}? [y/N] `).finally(() => terminal.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError('nothing was done');
}
