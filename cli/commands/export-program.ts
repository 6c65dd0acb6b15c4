import { once } from 'node:events';
import { type Command, Option } from 'commander';
import type { ClientView } from '../admin-client.ts';
import { csvLine } from '../csv.ts';
import { toRow } from '../output.ts';
import { clientFields, listClients } from './client.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';

interface ExportFlags extends ConnectionOptions {
  selector?: string;
  format: 'csv' | 'jsonl';
}

/** `fleetgate fleet export`. */
export function addExportCommand(fleet: Command): void {
  withConnection(fleet.command('export'))
    .summary('write out what is registered')
    .description('Write what is registered of clients to stdout, ordered by client id. Never a secret.')
    .option('--selector <selector>', 'only those, as group=plant-7,hw!=rev-a (default: all)')
    .addOption(new Option('--format <format>', 'how').choices(['csv', 'jsonl']).default('jsonl'))
    .addHelpText(
      'after',
      `
In CSV a cell that a spreadsheet would take for a formula has a quote in front.

Examples:
  fleetgate fleet export > fleet.jsonl
  fleetgate fleet export --selector group=plant-7 --format csv > plant-7.csv`,
    )
    .action(async ({ selector, format, ...flags }: ExportFlags) => {
      const { admin } = await connect(flags);
      const write = format === 'csv' ? csvOf : jsonOf;
      if (format === 'csv') await print(csvLine(clientFields));
      for await (const client of listClients(admin, selector === undefined ? {} : { selector })) {
        await print(write(client));
      }
    });
}

const jsonOf = (client: ClientView) => `${JSON.stringify(client)}\n`;

function csvOf(client: ClientView): string {
  const row = toRow(client);
  return csvLine(clientFields.map((field) => row[field]));
}

/** Waits for a reader that is slower: a million clients are not held in memory. */
async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
