import { FleetgateError } from '@fleetgate/shared';
import type { Command } from 'commander';
import { UsageError } from '../exit.ts';
import type { TemplateView } from '../fleet-client.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

interface TemplateFlags extends ConnectionOptions {
  format: RowFormat;
}

/** `fleetgate template apply|list|show|delete`. */
export function addTemplateCommands(program: Command): void {
  const template = program
    .command('template')
    .summary('say what the devices of a kind have in common')
    .description(
      'Keep templates: what the devices of a kind have in common, by which many are registered at once.',
    )
    .addHelpText(
      'after',
      `
A template is a YAML file:

  template: sensor
  id: sensor-{serial}          # {serial} is filled by each device; {n:06} by its number, {uuid} by a new UUID
  scope: telemetry.write commands.read
  group: plant-{plant}
  labels: { hw: "{hw}" }
  auth_method: client_secret_basic
  token_lifetime_seconds: 900

Examples:
  fleetgate template apply sensor.yaml
  fleetgate fleet provision --template sensor --from devices.csv --out credentials.jsonl`,
    );

  withConnection(template.command('apply <file...>'))
    .summary('keep the templates of files')
    .description(
      'Keep the templates of files. One that changed is a new version; clients that are there stay as made.',
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate template apply sensor.yaml\n  fleetgate template apply templates/*.yaml',
    )
    .action(async (files: string[], flags: TemplateFlags) => {
      // Loaded here: the other commands read neither a file nor a policy.
      const { readTemplateFile } = await import('../fleet/template-file.ts');
      const { scopeNotesInForce } = await import('./scope-notes.ts');
      // All are read before one is kept.
      const read = files.map((file) => ({ file, ...readTemplateFile(file) }));
      const { admin } = await connect(flags);
      const kept: TemplateView[] = [];
      for (const { file, name, template } of read) {
        kept.push(await admin.putTemplate(name, template).catch((error: unknown) => inFile(file, error)));
      }
      process.stdout.write(formatTemplates(kept, flags.format));
      const notes = read.flatMap(({ template: { scope, audience } }) =>
        typeof scope === 'string'
          ? scopeNotesInForce({ scope, audience: audience as string[] | undefined }, flags)
          : [],
      );
      for (const note of new Set(notes)) process.stderr.write(`note: ${note}\n`);
    });

  withConnection(template.command('list'))
    .summary('list the templates')
    .description('List the newest version of each template.')
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExamples:\n  fleetgate template list\n  fleetgate template list --format json')
    .action(async (flags: TemplateFlags) => {
      process.stdout.write(formatTemplates(await (await connect(flags)).admin.listTemplates(), flags.format));
    });

  withConnection(template.command('show <name> [version]'))
    .summary('show a template')
    .description('Show a template, by the number of a version or the newest.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate template show sensor\n  fleetgate template show sensor 1 --format json',
    )
    .action(async (name: string, version: string | undefined, flags: TemplateFlags) => {
      if (version !== undefined && !/^[1-9]\d{0,8}$/.test(version)) {
        throw new UsageError(`a version is a whole number from 1, not '${version}'`);
      }
      const number = version === undefined ? undefined : Number(version);
      const found = await (await connect(flags)).admin.getTemplate(name, number);
      process.stdout.write(formatTemplate(found, flags.format));
    });

  withConnection(template.command('delete <name>'))
    .summary('forget a template')
    .description('Forget all versions of a template. What it made stays.')
    .addHelpText('after', '\nExample:\n  fleetgate template delete sensor')
    .action(async (name: string, flags: ConnectionOptions) => {
      const { admin } = await connect(flags);
      const isThere = (await admin.listTemplates()).some((one) => one.name === name);
      if (isThere) await admin.deleteTemplate(name);
      else process.stderr.write(`there is no template '${name}'; nothing to delete\n`);
    });
}

/** Tells of several files which one is refused. */
function inFile(file: string, error: unknown): never {
  if (!(error instanceof FleetgateError)) throw error;
  throw new FleetgateError(error.code, `${file}: ${error.message}`, { cause: error });
}

function formatTemplate(template: TemplateView, format: RowFormat): string {
  if (format === 'json') return formatJson(template);
  return format === 'table' ? formatRecord(rowOf(template)) : formatTemplates([template], format);
}

const columns = ['name', 'version', 'id', 'auth_method', 'scope', 'group', 'created_at'];

function formatTemplates(templates: readonly TemplateView[], format: RowFormat): string {
  if (format === 'json') return formatJson(templates);
  return formatRows(format, templates.map(rowOf), {
    table: columns,
    csv: ['name', 'version', 'created_at', ...fieldNames],
  });
}

/** The fields of a template beside its name; that of its clients goes by another name here. */
const fieldNames = [
  'id',
  'client_name',
  'scope',
  'audience',
  'auth_method',
  'token_lifetime_seconds',
  'secret_lifetime_seconds',
  'group',
  'labels',
  'metadata',
];

function rowOf({ template: { name: client_name, ...template }, ...view }: TemplateView) {
  return toRow({
    ...view,
    auth_method: 'client_secret_basic',
    ...template,
    ...(client_name !== undefined && { client_name }),
  });
}
