import type { Command } from 'commander';
import { readTemplateFile } from '../fleet/template-file.ts';
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
      // All are read before one is kept.
      const read = files.map(readTemplateFile);
      const { admin } = connect(flags);
      const kept: TemplateView[] = [];
      for (const { name, template } of read) kept.push(await admin.putTemplate(name, template));
      process.stdout.write(formatTemplates(kept, flags.format));
    });

  withConnection(template.command('list'))
    .summary('list the templates')
    .description('List the newest version of each template.')
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExamples:\n  fleetgate template list\n  fleetgate template list --format json')
    .action(async (flags: TemplateFlags) => {
      process.stdout.write(formatTemplates(await connect(flags).admin.listTemplates(), flags.format));
    });

  withConnection(template.command('show <name>'))
    .summary('show a template')
    .description('Show a template.')
    .option('--version <number>', 'version of it (default: the newest)')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate template show sensor\n  fleetgate template show sensor --format json',
    )
    .action(async (name: string, flags: TemplateFlags & { version?: string }) => {
      const version = flags.version === undefined ? undefined : Number(flags.version);
      const found = await connect(flags).admin.getTemplate(name, version);
      process.stdout.write(formatTemplate(found, flags.format));
    });

  withConnection(template.command('delete <name>'))
    .summary('forget a template')
    .description('Forget all versions of a template. What it made stays.')
    .addHelpText('after', '\nExample:\n  fleetgate template delete sensor')
    .action(async (name: string, flags: ConnectionOptions) => {
      const { admin } = connect(flags);
      const isThere = (await admin.listTemplates()).some((one) => one.name === name);
      if (isThere) await admin.deleteTemplate(name);
      else process.stderr.write(`there is no template '${name}'; nothing to delete\n`);
    });
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
