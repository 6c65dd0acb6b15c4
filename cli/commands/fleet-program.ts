import type { Command } from 'commander';
import { EXIT_FAILED, EXIT_PARTLY_DONE, UsageError } from '../exit.ts';
import { findJobFile } from '../fleet/find-job-file.ts';
import { hasJobFile, jobFileOf } from '../fleet/job-file.ts';
import { previewAll } from '../fleet/preview.ts';
import { showProgress } from '../fleet/progress.ts';
import { type Provisioned, type ProvisionRequest, provision, resume } from '../fleet/provision.ts';
import type { JobView } from '../fleet-client.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { addExportCommand } from './export-program.ts';
import { rowFormatOption } from './format-option.ts';

interface ProvisionFlags extends ConnectionOptions {
  template: string;
  count?: string;
  from?: string;
  start?: string;
  out?: string;
  outDir?: string;
  encryptTo?: string;
  brokerUrl?: string;
  dryRun?: boolean;
  format: RowFormat;
}

interface JobFlags extends ConnectionOptions {
  format: RowFormat;
}

/** `fleetgate fleet provision|status|resume|cancel|export`. */
export function addFleetCommands(program: Command): void {
  const fleet = program
    .command('fleet')
    .summary('register thousands of devices at once, and look after them')
    .description('Register thousands of devices at once by a template, and look after them by selectors.')
    .addHelpText(
      'after',
      `
A selector says which clients: group=plant-7,hw!=rev-a. Conditions: name=value, name!=value, name in (a,b),
name notin (a,b), name, !name. A name is client_id (also client_id=press-*), group, state, auth_method, template, job,
enrollment, or a label. In a shell it is quoted where it has * ! ( ) or spaces.

Examples:
  fleetgate template apply sensor.yaml
  fleetgate fleet provision --template sensor --from devices.csv --out credentials.jsonl
  fleetgate fleet status
  fleetgate client quarantine --selector group=plant-7,hw=rev-a --reason "recall of rev-a"
  fleetgate fleet export --selector group=plant-7 --format csv > plant-7.csv`,
    );

  withConnection(fleet.command('provision'))
    .summary('register many devices')
    .description(
      'Register a device for each row of a file, or as many as are counted, and write their credentials.',
    )
    .requiredOption('--template <name>', 'what they have in common')
    .option('--from <file>', 'rows: .csv with a line of names, or .jsonl')
    .option('--count <number>', 'so many devices that differ by {n} or {uuid} alone')
    .option('--start <number>', '{n} of the first one (default: 1)')
    .option('--out <file>', 'credentials, a line for each device (JSONL, 0600)')
    .option('--out-dir <dir>', 'credentials, a file for each device')
    .option('--encrypt-to <file>', 'public key (JWK or PEM) that the credentials are encrypted to (JWE)')
    .option('--broker-url <url>', 'broker written into the credentials (default: the running one)')
    .option('--dry-run', 'say what would fail, and make nothing')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
The columns client_id, name, group, labels.NAME and public_jwk go before what the template says; every other one
fills the place of its name, as serial fills {serial}.

Beside the output stands OUT.job until the job is done: with it the job goes on after a kill, and no device is lost,
made twice or given two secrets. It is worth as much as the credentials. Rows that fail go to OUT.failed.csv (or
.jsonl) with the reason; mend them there and feed that file in.

Exit codes: 0 all are registered, 3 some rows failed, 1 it stopped on the way, 2 the file or an option is wrong;
with --dry-run 1 when a row would fail.

Examples:
  fleetgate fleet provision --template sensor --from devices.csv --dry-run
  fleetgate fleet provision --template sensor --from devices.csv --out credentials.jsonl
  fleetgate fleet provision --template box --count 10000 --out-dir boxes
  fleetgate fleet provision --template box --count 500 --out box.jsonl --encrypt-to factory.jwk`,
    )
    .action(async (flags: ProvisionFlags) => {
      const source = sourceOf(flags);
      const { admin, brokerUrl, url } = await connect(flags);
      const start = flags.start === undefined ? undefined : wholeNumber('--start', flags.start, 0);
      if (flags.dryRun === true) {
        const preview = await previewAll(admin, { template: flags.template, source, start }, showDevices);
        for (const line of preview.failures) process.stderr.write(`${line}\n`);
        process.stdout.write(formatOne(preview.summary, flags.format));
        if (preview.summary.failed > 0) process.exitCode = EXIT_FAILED;
        return;
      }
      const done = await provision(
        admin,
        {
          template: flags.template,
          source,
          start,
          ...outputOf(flags),
          encryptTo: flags.encryptTo,
          brokerUrl: flags.brokerUrl ?? brokerUrl,
          adminUrl: url,
        },
        watch(),
      ).catch((error: unknown) => howToGoOn(error, outputOf(flags).out));
      report(done, outputOf(flags).out, flags.format);
    });

  withConnection(fleet.command('status [job-id]'))
    .summary('show jobs')
    .description('Show a job, or all of them from new to old.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate fleet status\n  fleetgate fleet status 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --format json',
    )
    .action(async (jobId: string | undefined, flags: JobFlags) => {
      const { admin } = await connect(flags);
      if (jobId !== undefined) {
        process.stdout.write(formatOne(await admin.getJob(jobId), flags.format));
        return;
      }
      process.stdout.write(formatJobs((await admin.listJobs({ limit: 1000 })).jobs, flags.format));
    });

  withConnection(fleet.command('resume [job-id]'))
    .summary('go on with a job that stopped')
    .description('Go on with a job that stopped, where it stopped.')
    .option('--out <file>', 'what it writes to (default: the one job of the working directory)')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
The job is found by OUT.job, which stands beside its output. The rows must be as they were.

Examples:
  fleetgate fleet resume
  fleetgate fleet resume --out credentials.jsonl`,
    )
    .action(async (jobId: string | undefined, flags: JobFlags & { out?: string }) => {
      const state = findJobFile({ out: flags.out, jobId });
      const { admin } = await connect({
        ...flags,
        ...(flags.adminUrl === undefined && flags.data === undefined && flags.config === undefined
          ? { adminUrl: state.admin_url }
          : {}),
      });
      const done = await resume(admin, state, watch()).catch((error: unknown) => howToGoOn(error, state.out));
      report(done, state.out, flags.format);
    });

  withConnection(fleet.command('cancel <job-id>'))
    .summary('end a job that is not done')
    .description(
      'End a job: it takes no more rows. What it made stays, and is found by the selector job=JOB-ID.',
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate fleet cancel 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f
  fleetgate client delete --selector job=0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f`,
    )
    .action(async (jobId: string, flags: JobFlags) => {
      process.stdout.write(formatOne(await (await connect(flags)).admin.cancelJob(jobId), flags.format));
    });

  addExportCommand(fleet);
}

function sourceOf({ count, from }: ProvisionFlags): ProvisionRequest['source'] {
  if ((count === undefined) === (from === undefined)) {
    throw new UsageError('name the rows with --from, or how many there are with --count');
  }
  return from === undefined ? { count: wholeNumber('--count', count ?? '', 1) } : { from };
}

function outputOf({ out, outDir }: ProvisionFlags): { out: string; isDirectory: boolean } {
  if ((out === undefined) === (outDir === undefined)) {
    throw new UsageError(
      'name the file for the credentials with --out, or a directory for a file each with --out-dir',
    );
  }
  return { out: out ?? outDir ?? '', isDirectory: out === undefined };
}

function wholeNumber(option: string, text: string, minimum: number): number {
  if (!/^\d{1,15}$/.test(text) || Number(text) < minimum) {
    throw new UsageError(`${option} takes a whole number from ${minimum}, not '${text}'`);
  }
  return Number(text);
}

const showDevices = (job: { readonly total: number; readonly done: number }) =>
  showProgress({ what: 'devices', ...job });

/** The first Ctrl-C stops after what is under way, the second at once. */
function watch() {
  let isStopped = false;
  process.once('SIGINT', () => {
    isStopped = true;
    process.stderr.write('\nstopping after the rows that are under way\n');
  });
  return { begin: showDevices, isStopped: () => isStopped };
}

function howToGoOn(error: unknown, out: string): never {
  if (hasJobFile(out) && !(error instanceof UsageError)) process.stderr.write(goOn(out));
  throw error;
}

const goOn = (out: string) =>
  `the job has not ended; go on with: fleetgate fleet resume --out ${out} (${jobFileOf(out)} has what it needs)\n`;

function report({ job, failuresFile, isStopped }: Provisioned, out: string, format: RowFormat): void {
  process.stdout.write(formatOne(job, format));
  if (isStopped) process.stderr.write(goOn(out));
  if (failuresFile !== undefined) {
    process.stderr.write(`${job.failed} rows failed; they are in ${failuresFile}, each with the reason\n`);
  }
  if (isStopped) process.exitCode = EXIT_FAILED;
  else if (failuresFile !== undefined) process.exitCode = EXIT_PARTLY_DONE;
}

function formatJobs(jobs: readonly JobView[], format: RowFormat): string {
  if (format === 'json') return formatJson(jobs);
  return formatRows(format, jobs.map(toRow), {
    table: ['job_id', 'state', 'template', 'created', 'failed', 'total', 'source', 'updated_at'],
    csv: [
      'job_id',
      'state',
      'template',
      'template_version',
      'source',
      'total',
      'start',
      'next_row',
      'created',
      'failed',
      'created_by',
      'created_at',
      'updated_at',
    ],
  });
}

function formatOne(record: object, format: RowFormat): string {
  if (format === 'json') return formatJson(record);
  const row = toRow(record);
  return format === 'csv'
    ? formatRows('csv', [row], { table: [], csv: Object.keys(row) })
    : formatRecord(row);
}
