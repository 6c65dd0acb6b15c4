import { readFileSync } from 'node:fs';
import { isIdentifier } from '@fleetgate/shared';
import { type Command, Option } from 'commander';
import { UsageError } from '../exit.ts';
import type { EnrollmentRequestView, EnrollmentView } from '../fleet-client.ts';
import type { RowFormat } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { addEnrollmentCreate } from './enrollment-create-program.ts';
import { addEnrollmentKeys } from './enrollment-keys-program.ts';
import { formatEnrollments, formatOne, formatRequests } from './enrollment-output.ts';
import { rowFormatOption } from './format-option.ts';

interface EnrollmentFlags extends ConnectionOptions {
  format: RowFormat;
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
  addEnrollmentCreate(enrollment);
  addLists(enrollment);
  addDecisions(enrollment);
  addEnrollmentKeys(enrollment);
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
      const { admin } = await connect(flags);
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
      process.stdout.write(formatOne(await (await connect(flags)).admin.getEnrollment(id), flags.format));
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
        const { admin } = await connect(flags);
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
      const { admin } = await connect(flags);
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
      const { admin } = await connect(flags);
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
      const { admin } = await connect(flags);
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
      const { admin } = await connect(flags);
      const revoked: EnrollmentView[] = [];
      for (const id of ids) revoked.push(await admin.revokeEnrollment(id));
      process.stdout.write(formatEnrollments(revoked, flags.format));
    });
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
