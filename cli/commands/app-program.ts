import type { Command } from 'commander';
import type { Format, RowFormat } from '../output.ts';
import { createApp, formatApp, formatApps } from './app.ts';
import { type ConnectionOptions, connect, withServer } from './connection.ts';
import { formatOption, rowFormatOption } from './format-option.ts';

interface AppFlags extends ConnectionOptions {
  format: Format;
}

/** `fleetgate app create|list|delete`. */
export function addAppCommands(program: Command): void {
  const app = program
    .command('app')
    .summary('make apps, list and delete them')
    .description(
      'Make apps, list and delete them. An app is an issuer of its own at <issuer>/appid-<id>: clients, keys, ' +
        'revocations and audit trail are its own, and its admin key opens no other.',
    )
    .addHelpText(
      'after',
      `
Examples:
  fleetgate app create plant-1
  fleetgate client create --app plant-1 --id sensor-1 --scope telemetry.write --out sensor-1.json
  fleetgate app list`,
    );

  withServer(app.command('create <app-id>'))
    .summary('make an app')
    .description('Make an app, [a-z0-9-]{1,64}, and print it with its admin key, or write that to a file.')
    .option('--out <file>', 'write the admin key to a file (0600) instead of printing it')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
The key is printed this once. On the machine of the issuer it also is in apps/<id>/admin.key of the data directory,
where --app finds it.

Examples:
  fleetgate app create plant-1
  fleetgate app create plant-1 --out plant-1.key`,
    )
    .action(async (appId: string, flags: AppFlags & { out?: string }) => {
      const created = await createApp((await connect(flags)).admin, appId, flags.out);
      process.stdout.write(formatApp(created, flags.format));
      if (flags.out !== undefined) process.stderr.write(`admin key written to ${flags.out}\n`);
    });

  withServer(app.command('list'))
    .summary('list the apps')
    .description('List the apps, ordered by id; not the one without a prefix.')
    .option('-q, --quiet', 'print ids only')
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExamples:\n  fleetgate app list\n  fleetgate app list -q')
    .action(async (flags: ConnectionOptions & { format: RowFormat; quiet?: boolean }) => {
      const apps = await (await connect(flags)).admin.listApps();
      process.stdout.write(
        flags.quiet ? apps.map(({ app_id }) => `${app_id}\n`).join('') : formatApps(apps, flags.format),
      );
    });

  withServer(app.command('delete <app-id>'))
    .summary('delete an app that has no clients')
    .description(
      'Delete an app that has no clients. Its files, with the audit trail, stay in apps/.deleted of the data ' +
        'directory until somebody removes them.',
    )
    .addHelpText(
      'after',
      `
Its clients are deleted first, so that brokers are told that their tokens are revoked.

Examples:
  fleetgate client list --app plant-1 -q | xargs fleetgate client delete --app plant-1
  fleetgate app delete plant-1`,
    )
    .action(async (appId: string, flags: ConnectionOptions) => {
      const deleted = await (await connect(flags)).admin.deleteApp(appId);
      if (deleted) process.stdout.write(`${appId}\n`);
      else process.stderr.write(`there is no app '${appId}'; nothing to delete\n`);
    });
}
