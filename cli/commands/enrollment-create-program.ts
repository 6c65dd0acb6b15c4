import type { Command } from 'commander';
import type { AdminClient } from '../admin-client.ts';
import { parseDuration } from '../duration.ts';
import { UsageError } from '../exit.ts';
import { enrollmentsFor, type MadeEnrollment } from '../fleet/claim-codes.ts';
import { countedRows, fileRows, surveyRows } from '../fleet/device-rows.ts';
import { firstNames, placeNotes } from '../fleet/place-notes.ts';
import type { NewEnrollment } from '../fleet-client.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

interface CreateFlags extends ConnectionOptions {
  format: RowFormat;
  template: string;
  groupKey?: boolean;
  device?: string[];
  uses?: string;
  expires?: string;
  approval?: boolean;
  replace?: boolean;
  count?: string;
  from?: string;
  out?: string;
}

/** `fleetgate enrollment create`. */
export function addEnrollmentCreate(enrollment: Command): void {
  withConnection(enrollment.command('create'))
    .summary('make claim codes, or a group key')
    .description('Make a claim code, one for each row of a file, or a group key. Each is shown this once.')
    .requiredOption('--template <name>', 'what the devices have in common')
    .option('--group-key', 'a group key instead of a claim code')
    .option('--device <name=value>', 'what a device cannot say otherwise; may be given again', collect)
    .option('--uses <number>', 'devices it lets in (default: 1 by a claim code, any number by a group key)')
    .option(
      '--expires <duration>',
      'how long it is good, such as 12h or 7d; seconds without a unit (default: no end)',
    )
    .option('--approval', 'devices wait until they are approved or allowed')
    .option('--replace', 'a device that comes again gets new credentials, and its old ones end')
    .option('--count <number>', 'so many claim codes')
    .option('--from <file>', 'a claim code for each row of a .csv or .jsonl, bound to what it says')
    .option('--out <file>', 'write them to a new file (0600) instead of stdout')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate enrollment create --template sensor --device serial=A1 --expires 7d
  fleetgate enrollment create --template sensor --count 500 --out codes.csv --format csv
  fleetgate enrollment create --template sensor --group-key --out group.json --format json`,
    )
    .action(async (flags: CreateFlags) => {
      const plan = planOf(flags);
      const { admin } = await connect(flags);
      for (const note of await slips(admin, plan, flags)) process.stderr.write(`note: ${note}\n`);
      if (flags.out === undefined) {
        process.stdout.write(formatMade(await make(admin, plan, flags), flags));
        return;
      }
      const made = await intoNewFile(flags.out, async () => {
        const all = await make(admin, plan, flags);
        return { content: formatMade(all, flags), answer: all };
      });
      const what = made.length === 1 ? 'enrollment' : `${made.length} enrollments`;
      process.stderr.write(`${what} written to ${flags.out}\n`);
    });
}

function planOf(flags: CreateFlags): NewEnrollment {
  if (flags.count !== undefined && flags.from !== undefined) {
    throw new UsageError('--count and --from exclude each other');
  }
  if (flags.groupKey && (flags.count !== undefined || flags.from !== undefined)) {
    throw new UsageError('--count and --from are for claim codes; one group key is for many devices');
  }
  const device = Object.fromEntries((flags.device ?? []).map(pairOf));
  return {
    template: flags.template,
    ...(flags.groupKey && { kind: 'group_key' as const }),
    ...(Object.keys(device).length > 0 && { device }),
    ...(flags.uses !== undefined && { max_uses: wholeNumber('--uses', flags.uses) }),
    ...(flags.expires !== undefined && {
      expires_at: Math.floor(Date.now() / 1000) + parseDuration('--expires', flags.expires),
    }),
    ...(flags.approval && { approval: true }),
    ...(flags.replace && { replace: true }),
  };
}

function make(admin: AdminClient, plan: NewEnrollment, flags: CreateFlags): Promise<MadeEnrollment[]> {
  const count = flags.count === undefined ? 1 : wholeNumber('--count', flags.count);
  const source = flags.from === undefined ? countedRows(count) : fileRows(flags.from);
  return Array.fromAsync(enrollmentsFor(admin, plan, source.rows()));
}

/** What is legal and probably not meant. All rows are read before the first of them is made. */
async function slips(admin: AdminClient, plan: NewEnrollment, { from }: CreateFlags): Promise<string[]> {
  const names = Object.keys(plan.device ?? {});
  if (from !== undefined) {
    const source = fileRows(from);
    await surveyRows(source);
    names.push(...(await firstNames(source.rows())));
  }
  return names.length === 0 ? [] : placeNotes((await admin.getTemplate(plan.template)).template, names);
}

/** Those of a file or a count are a list, also where there is one of them. */
function formatMade(made: readonly MadeEnrollment[], { format, count, from }: CreateFlags): string {
  const [only] = made;
  const isList = count !== undefined || from !== undefined;
  if (format === 'json') return formatJson(isList ? made : only);
  if (!isList && format === 'table') return formatRecord(toRow(only as object));
  const codes = ['enrollment_id', 'claim_code', 'primary_key', 'secondary_key', 'device', 'expires_at'];
  const columns = codes.filter((column) => made.some((one) => column in one));
  return formatRows(format, made.map(toRow), { table: columns, csv: columns });
}

function pairOf(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  if (equals < 1) throw new UsageError(`--device takes NAME=VALUE, not '${pair}'`);
  return [pair.slice(0, equals), pair.slice(equals + 1)];
}

function wholeNumber(option: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new UsageError(`${option} takes a whole number from 1, not '${text}'`);
  return Number(text);
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}
