import { createHmac } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIdentifier, privateFileProblem } from '@fleetgate/shared';
import { type Command, Option } from 'commander';
import type { AdminClient } from '../admin-client.ts';
import { parseDuration } from '../duration.ts';
import { UsageError } from '../exit.ts';
import { enrollmentsFor, type MadeEnrollment } from '../fleet/claim-codes.ts';
import { countedRows, fileRows, surveyRows } from '../fleet/device-rows.ts';
import { firstNames, placeNotes } from '../fleet/place-notes.ts';
import type { EnrollmentRequestView, EnrollmentView, NewEnrollment } from '../fleet-client.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

interface EnrollmentFlags extends ConnectionOptions {
  format: RowFormat;
}

interface CreateFlags extends EnrollmentFlags {
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

/** Client ids that one request may allow. */
const ALLOWED_AT_ONCE = 1000;

/** `fleetgate enrollment …`. */
export function addEnrollmentCommands(program: Command): void {
  const enrollment = program
    .command('enrollment')
    .summary('let devices get their identity by themselves')
    .description(
      'Let devices get their identity by themselves: by claim codes, or keys derived from that of a group.',
    )
    .addHelpText(
      'after',
      `
A claim code is typed, printed or put into an image, and lets in as many devices as it is for. With a group key each
device has a key of its own, which is made offline: no device can come in the name of another.

Examples:
  fleetgate enrollment create --template sensor --expires 7d
  fleetgate enrollment create --template sensor --from devices.csv --out codes.csv
  fleetgate enrollment create --template sensor --group-key --approval --out group.json
  fleetgate enrollment requests --state pending
  fleetgate-agent enroll --issuer https://issuer.example --claim-code-file code --out device.json`,
    );
  addCreate(enrollment);
  addLists(enrollment);
  addDecisions(enrollment);
  addKeys(enrollment);
}

function addCreate(enrollment: Command): void {
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
      const { admin } = connect(flags);
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

function addLists(enrollment: Command): void {
  withConnection(enrollment.command('list'))
    .summary('list enrollments')
    .description('List enrollments, from new to old. Never what opens them.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate enrollment list\n  fleetgate enrollment list --format json',
    )
    .action(async (flags: EnrollmentFlags) => {
      const { admin } = connect(flags);
      const all = await everyPage(async (cursor) => {
        const { enrollments, next_cursor } = await admin.listEnrollments({ limit: 1000, cursor });
        return { items: enrollments, next_cursor };
      });
      process.stdout.write(formatEnrollments(all, flags.format));
    });

  withConnection(enrollment.command('show <enrollment-id>'))
    .summary('show an enrollment')
    .description('Show an enrollment. Never what opens it.')
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExample:\n  fleetgate enrollment show 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f')
    .action(async (id: string, flags: EnrollmentFlags) => {
      process.stdout.write(formatOne(await connect(flags).admin.getEnrollment(id), flags.format));
    });

  withConnection(enrollment.command('requests'))
    .summary('list devices that came')
    .description('List devices that came to enrollments, from old to new.')
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([
        'pending',
        'approved',
        'rejected',
        'enrolled',
      ]),
    )
    .option('--enrollment <id>', 'only those that came to this enrollment')
    .option('-q, --quiet', 'print request ids only')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate enrollment requests --state pending\n  fleetgate enrollment requests --state pending -q | xargs fleetgate enrollment approve',
    )
    .action(
      async ({
        state,
        enrollment: of,
        quiet,
        format,
        ...flags
      }: EnrollmentFlags & { state?: string; enrollment?: string; quiet?: boolean }) => {
        const { admin } = connect(flags);
        const all = await everyPage(async (cursor) => {
          const query = { limit: 1000, cursor, state, enrollment: of };
          const { requests, next_cursor } = await admin.listEnrollmentRequests(query);
          return { items: requests, next_cursor };
        });
        if (quiet) process.stdout.write(all.map(({ request_id }) => `${request_id}\n`).join(''));
        else process.stdout.write(formatRequests(all, format));
      },
    );
}

function addDecisions(enrollment: Command): void {
  withConnection(enrollment.command('approve <request-id...>'))
    .summary('let devices in that wait')
    .description(
      'Let devices in that wait, or that were rejected. Each gets its credentials when it asks next.',
    )
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExample:\n  fleetgate enrollment approve 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f')
    .action(async (ids: string[], flags: EnrollmentFlags) => {
      const { admin } = connect(flags);
      const decided: EnrollmentRequestView[] = [];
      for (const id of ids) decided.push(await admin.approveEnrollment(id));
      process.stdout.write(formatRequests(decided, flags.format));
    });

  withConnection(enrollment.command('reject <request-id...>'))
    .summary('refuse devices that wait')
    .description('Refuse devices that wait.')
    .requiredOption('--reason <text>', 'why; the device is told')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate enrollment reject 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --reason "not ours"',
    )
    .action(async (ids: string[], flags: EnrollmentFlags & { reason: string }) => {
      const { admin } = connect(flags);
      const decided: EnrollmentRequestView[] = [];
      for (const id of ids) decided.push(await admin.rejectEnrollment(id, flags.reason));
      process.stdout.write(formatRequests(decided, flags.format));
    });

  withConnection(enrollment.command('allow <enrollment-id> [client-id...]'))
    .summary('let devices in without approval')
    .description('Let devices in without approval, by the client ids they will have.')
    .option('--from <file>', 'client ids, a line each')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate enrollment allow 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f sensor-A1 sensor-A2
  fleetgate enrollment allow 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --from delivered.txt`,
    )
    .action(async (id: string, named: string[], flags: ConnectionOptions & { from?: string }) => {
      const clientIds = [...named, ...(flags.from === undefined ? [] : linesOf(flags.from))];
      const wrong = clientIds.find((clientId) => !isIdentifier(clientId as unknown));
      if (wrong !== undefined)
        throw new UsageError(`a client id matches [A-Za-z0-9._-]{1,64}, and '${wrong}' does not`);
      if (clientIds.length === 0) throw new UsageError('name client ids, or a file of them with --from');
      const { admin } = connect(flags);
      for (let i = 0; i < clientIds.length; i += ALLOWED_AT_ONCE) {
        await admin.allowClients(id, clientIds.slice(i, i + ALLOWED_AT_ONCE));
      }
      process.stderr.write(`${clientIds.length} client ids need no approval\n`);
    });

  withConnection(enrollment.command('revoke <enrollment-id...>'))
    .summary('let nobody in any more')
    .description(
      'Let nobody in by an enrollment any more. Devices that are in stay; those that wait are refused.',
    )
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExample:\n  fleetgate enrollment revoke 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f')
    .action(async (ids: string[], flags: EnrollmentFlags) => {
      const { admin } = connect(flags);
      const revoked: EnrollmentView[] = [];
      for (const id of ids) revoked.push(await admin.revokeEnrollment(id));
      process.stdout.write(formatEnrollments(revoked, flags.format));
    });
}

function addKeys(enrollment: Command): void {
  withConnection(enrollment.command('roll-key <enrollment-id>'))
    .summary('replace one of the two group keys')
    .description('Replace one of the two keys of a group. Devices with keys from the other one go on.')
    .addOption(
      new Option('--key <which>', 'which is replaced')
        .choices(['primary', 'secondary'])
        .makeOptionMandatory(),
    )
    .option('--out <file>', 'write it to a new file (0600) instead of stdout')
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate enrollment roll-key 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --key secondary --out secondary.key',
    )
    .action(async (id: string, flags: ConnectionOptions & { key: 'primary' | 'secondary'; out?: string }) => {
      const { admin } = connect(flags);
      const roll = async () => `${(await admin.rollGroupKey(id, flags.key))[`${flags.key}_key`]}\n`;
      if (flags.out === undefined) process.stdout.write(await roll());
      else await intoNewFile(flags.out, async () => ({ content: await roll(), answer: undefined }));
    });

  enrollment
    .command('derive-key <registration-id...>')
    .summary('make keys of devices from that of their group')
    .description(
      'Make the keys of devices from that of their group, offline: base64(HMAC-SHA256(group key, id)).',
    )
    .requiredOption('--group-key-file <file>', 'file of the group key, base64, mode 0600')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate enrollment derive-key A1 A2 --group-key-file primary.key --format csv',
    )
    .action((ids: string[], flags: { groupKeyFile: string; format: RowFormat }) => {
      const key = Buffer.from(readSecret(flags.groupKeyFile), 'base64');
      const rows = ids.map((registration_id) => {
        if (!isIdentifier(registration_id as unknown)) {
          throw new UsageError(
            `a registration id matches [A-Za-z0-9._-]{1,64}, and '${registration_id}' does not`,
          );
        }
        return {
          registration_id,
          device_key: createHmac('sha256', key).update(registration_id).digest('base64'),
        };
      });
      const columns = ['registration_id', 'device_key'];
      process.stdout.write(
        flags.format === 'json'
          ? formatJson(rows)
          : formatRows(flags.format, rows, { table: columns, csv: columns }),
      );
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

const enrollmentColumns = [
  'enrollment_id',
  'kind',
  'state',
  'template',
  'uses',
  'max_uses',
  'expires_at',
  'approval',
];

function formatEnrollments(all: readonly EnrollmentView[], format: RowFormat): string {
  if (format === 'json') return formatJson(all);
  return formatRows(format, all.map(toRow), {
    table: enrollmentColumns,
    csv: [...enrollmentColumns, 'replace', 'device', 'created_by', 'created_at', 'revoked_at'],
  });
}

const requestColumns = ['request_id', 'state', 'client_id', 'group', 'enrollment_id', 'created_at'];

function formatRequests(all: readonly EnrollmentRequestView[], format: RowFormat): string {
  if (format === 'json') return formatJson(all);
  return formatRows(format, all.map(toRow), {
    table: requestColumns,
    csv: [...requestColumns, 'labels', 'reason', 'updated_at'],
  });
}

function formatOne(one: EnrollmentView, format: RowFormat): string {
  if (format === 'json') return formatJson(one);
  return format === 'table' ? formatRecord(toRow(one)) : formatEnrollments([one], format);
}

async function everyPage<Item>(
  page: (cursor: string | undefined) => Promise<{ items: Item[]; next_cursor: string | undefined }>,
): Promise<Item[]> {
  const all: Item[] = [];
  let cursor: string | undefined;
  do {
    const { items, next_cursor } = await page(cursor);
    all.push(...items);
    cursor = next_cursor;
  } while (cursor !== undefined);
  return all;
}

function readSecret(file: string): string {
  try {
    const problem = privateFileProblem(file, statSync(file));
    if (problem !== undefined) throw new UsageError(problem);
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
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
