import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { EXIT_FAILED, UsageError } from '../exit.ts';
import { type Format, formatJson } from '../output.ts';
import type { AuditEventView, AuditFilter, AuditSource } from './audit-source.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { formatOption } from './format-option.ts';

/** Events `list` prints when no number is given. */
const DEFAULT_LISTED = 50;
const MAX_LISTED = 100_000;

interface ListFlags extends ConnectionOptions {
  actor?: string;
  action?: string;
  target?: string;
  client?: string;
  result?: string;
  since?: string;
  until?: string;
  limit: string;
  format: Format;
}

interface VerifyFlags extends ConnectionOptions {
  file?: string;
  expect?: string;
  format: Format;
}

/** `fleetgate audit list|export|verify`. */
export function addAuditCommands(program: Command): void {
  const audit = program
    .command('audit')
    .summary('what the issuer did, and for whom')
    .description(
      'The audit trail of the issuer: each act and refusal is a row, chained to the one before by a hash.',
    )
    .addHelpText(
      'after',
      `
It is read from the database of the data directory, whether an issuer runs on it or not; with --admin-url from there.

Examples:
  fleetgate audit list --action token.issue --result invalid_client --since 2026-01-31T00:00:00Z
  fleetgate audit export --out audit.jsonl
  fleetgate audit verify --expect 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
    );

  withConnection(audit.command('list'), 'none; the database is read')
    .summary('the newest events')
    .description('List the newest events, the last one at the end.')
    .option('--actor <actor>', 'who acted: admin:NAME, client:ID, anonymous or issuer')
    .option('--action <action>', 'what was done, as client.create')
    .option('--target <id>', 'what it was done to')
    .option('--client <client-id>', 'short for --target of a client')
    .option('--result <result>', 'ok, or the code of a refusal')
    .option('--since <time>', 'at this moment or later')
    .option('--until <time>', 'before this moment')
    .option('--limit <number>', 'how many', String(DEFAULT_LISTED))
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate audit list --client sensor-1
  fleetgate audit list --result invalid_client --since 2026-01-31T00:00:00Z --format json`,
    )
    .action(async (flags: ListFlags) => {
      const { formatEvents } = await import('./audit.ts');
      const limit = wholeNumber('--limit', flags.limit, MAX_LISTED);
      const filter = await filterOf(flags);
      const events = await withSource(flags, (source) =>
        take(source.events({ ...filter, order: 'newest' }), limit),
      );
      process.stdout.write(formatEvents(events.reverse(), flags.format));
    });

  withConnection(audit.command('export'), 'none; the database is read')
    .summary('all events as JSON lines')
    .description('Write all events as JSON, a line each, the oldest first.')
    .option('--after <sequence>', 'only those after this one')
    .option('--out <file>', 'a new file (0600) instead of standard output')
    .addHelpText(
      'after',
      `
At the end stderr says the checkpoint, SEQUENCE:HASH of the last event. Keep it apart from this machine:
'audit verify --expect' with it finds also rows that were cut off at the end.

Examples:
  fleetgate audit export --out audit.jsonl
  fleetgate audit export --after 1042 >> audit.jsonl`,
    )
    .action(async (flags: ConnectionOptions & { after?: string; out?: string }) => {
      const after = flags.after === undefined ? undefined : wholeNumber('--after', flags.after);
      const last = await withSource(flags, (source) => writeLines(source.events({}, after), flags.out));
      const { checkpointOf } = await import('./audit.ts');
      note(last === undefined ? 'no events' : `checkpoint ${checkpointOf(last)}`);
    });

  withConnection(audit.command('verify'), 'none; the database is read')
    .summary('whether the trail is whole')
    .description('Verify that each row is as it was recorded and that none is missing.')
    .option('--file <file>', "an export instead; '-' is standard input")
    .option('--expect <sequence:hash>', 'a row that it must hold')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
Exit codes: 1 when it is not whole; the first row that does not fit is named.

Who can write to the database can make a new chain, or cut rows off at the end. Only a checkpoint kept elsewhere
shows that: what this prints today, give to --expect tomorrow.

Examples:
  fleetgate audit verify
  fleetgate audit verify --file audit.jsonl`,
    )
    .action(async (flags: VerifyFlags) => {
      const { readExport, verifyAudit } = await import('./audit.ts');
      const report =
        flags.file === undefined
          ? await withSource(flags, (source) => verifyAudit(source.events({}), flags.expect))
          : await verifyAudit(readExport(flags.file), flags.expect);
      if (!report.intact) process.exitCode = EXIT_FAILED;
      if (flags.format === 'json') process.stdout.write(formatJson(report));
      else if (report.intact) {
        const range = report.rows === 0 ? '' : `, from ${report.first}, checkpoint ${report.checkpoint}`;
        process.stdout.write(`whole: ${report.rows} rows${range}\n`);
      } else process.stdout.write(`broken: row ${report.broken_at} ${report.problem}\n`);
    });
}

async function withSource<T>(flags: ConnectionOptions, use: (source: AuditSource) => Promise<T>): Promise<T> {
  const { openAuditSource } = await import('./audit-source.ts');
  const source = await openAuditSource(flags);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

async function filterOf(flags: ListFlags): Promise<AuditFilter> {
  const { momentMs } = await import('./audit.ts');
  const { actor, action, result, since, until } = flags;
  if (flags.client !== undefined && flags.target !== undefined) {
    throw new UsageError('--client and --target are one; leave one of them out');
  }
  const target = flags.client ?? flags.target;
  return {
    ...(actor === undefined ? {} : { actor }),
    ...(action === undefined ? {} : { action }),
    ...(target === undefined ? {} : { target }),
    ...(result === undefined ? {} : { result }),
    ...(since === undefined ? {} : { fromMs: momentMs('--since', since) }),
    ...(until === undefined ? {} : { untilMs: momentMs('--until', until) }),
  };
}

async function take<T>(values: AsyncIterable<T>, limit: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const value of values) {
    taken.push(value);
    if (taken.length >= limit) break;
  }
  return taken;
}

/** The last event written. */
async function writeLines(
  events: AsyncIterable<AuditEventView>,
  file: string | undefined,
): Promise<AuditEventView | undefined> {
  const output: Writable =
    file === undefined ? process.stdout : createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
  const failed = new Promise<never>((_, fail) => {
    if (file === undefined) return;
    output.once('error', (error: NodeJS.ErrnoException) => {
      const mend = error.code === 'EEXIST' ? 'it exists; name another' : String(error.code);
      fail(new UsageError(`cannot write ${file}: ${mend}`));
    });
  });
  failed.catch(() => undefined);
  let last: AuditEventView | undefined;
  for await (const event of events) {
    if (!output.write(`${JSON.stringify(event)}\n`)) await Promise.race([once(output, 'drain'), failed]);
    last = event;
  }
  if (file !== undefined) {
    const finished = once(output, 'close');
    output.end();
    await Promise.race([finished, failed]);
  }
  return last;
}

function wholeNumber(option: string, text: string, maximum = Number.MAX_SAFE_INTEGER): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= maximum) return number;
  throw new UsageError(`${option} takes a whole number up to ${maximum}`);
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
