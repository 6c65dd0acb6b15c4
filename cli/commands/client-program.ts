import type { Command } from 'commander';
import type { NewClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { type Format, formatJson } from '../output.ts';
import { createClient, formatClient, formatClients, listClients, parseLabels } from './client.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { formatOption } from './format-option.ts';

interface CreateFlags extends ConnectionOptions {
  id?: string;
  name?: string;
  scope?: string;
  audience: string[];
  auth?: string;
  group?: string;
  label: string[];
  tokenLifetimeSeconds?: string;
  brokerUrl?: string;
  out?: string;
  format: Format;
}

interface ListFlags extends ConnectionOptions {
  format: Format;
  quiet?: boolean;
}

/** `fleetgate client create|list|show|delete`. */
export function addClientCommands(program: Command): void {
  const client = program
    .command('client')
    .summary('register machines, list and delete them')
    .description('Register machines, list and delete them.');

  withConnection(client.command('create'))
    .summary('register a machine')
    .description('Register a machine and print it with its secret, or write its credentials file.')
    .option('--id <id>', 'client id, [A-Za-z0-9._-]{1,64} (default: one is made)')
    .option('--scope <scope>', 'scopes it may ask for, separated by spaces')
    .option('--audience <audience>', 'audience it may ask for; may be given again', collect, [])
    .option('--auth <method>', 'client_secret_basic or client_secret_post (default: client_secret_basic)')
    .option('--group <group>', 'group, for {group} in scopes and policies')
    .option('--name <name>', 'name for people')
    .option('--label <name=value>', 'label; may be given again', collect, [])
    .option('--token-lifetime-seconds <seconds>', "lifetime of its tokens (default: the issuer's)")
    .option('--broker-url <url>', 'broker written into the credentials file (default: the running one)')
    .option('--out <file>', 'write a credentials file (0600) instead of printing the secret')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
The secret is shown this once: keep what is printed, or use --out.

Examples:
  fleetgate client create --id sensor-1 --scope "telemetry.write commands.read" --out sensor-1.json
  fleetgate client create --id press-7 --scope "mqtt:publish:plant/{client_id}/#" --format json`,
    )
    .action(async (flags: CreateFlags) => {
      const { admin, brokerUrl } = connect(flags);
      const url = flags.brokerUrl ?? brokerUrl;
      const created = await createClient(admin, {
        client: newClient(flags),
        ...(flags.out === undefined ? {} : { out: flags.out }),
        ...(url === undefined ? {} : { brokerUrl: url }),
      });
      process.stdout.write(formatClient(created, flags.format));
      if (flags.out !== undefined) process.stderr.write(`credentials written to ${flags.out}\n`);
    });

  withConnection(client.command('list'))
    .summary('list the machines')
    .description('List the machines, ordered by client id.')
    .option('-q, --quiet', 'print client ids only')
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate client list\n  fleetgate client list --format json | jq length',
    )
    .action(async (flags: ListFlags) => {
      const clients = await Array.fromAsync(listClients(connect(flags).admin));
      if (flags.quiet) process.stdout.write(clients.map(({ client_id }) => `${client_id}\n`).join(''));
      else process.stdout.write(formatClients(clients, flags.format));
    });

  withConnection(client.command('show <client-id>'))
    .summary('show one machine')
    .description('Show one machine; its secret is never shown again.')
    .addOption(formatOption())
    .action(async (clientId: string, flags: ListFlags) => {
      process.stdout.write(formatClient(await connect(flags).admin.getClient(clientId), flags.format));
    });

  withConnection(client.command('delete <client-id...>'))
    .summary('delete machines')
    .description(
      'Delete machines. Their next token request is refused, and the tokens they have are revoked.',
    )
    .addOption(formatOption())
    .action(async (clientIds: string[], flags: ListFlags) => {
      const { admin } = connect(flags);
      const results = [];
      for (const clientId of clientIds) {
        const deleted = await admin.deleteClient(clientId);
        results.push({ client_id: clientId, deleted });
        if (!deleted) process.stderr.write(`no client '${clientId}' is registered; nothing to delete\n`);
      }
      if (flags.format === 'json') process.stdout.write(formatJson(results));
      else
        process.stdout.write(
          results
            .filter(({ deleted }) => deleted)
            .map(({ client_id }) => `${client_id}\n`)
            .join(''),
        );
    });
}

function newClient(flags: CreateFlags): NewClient {
  const lifetime = flags.tokenLifetimeSeconds === undefined ? undefined : Number(flags.tokenLifetimeSeconds);
  if (lifetime !== undefined && !(Number.isSafeInteger(lifetime) && lifetime > 0)) {
    throw new UsageError('--token-lifetime-seconds takes a whole number of seconds');
  }
  return {
    ...(flags.id === undefined ? {} : { client_id: flags.id }),
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.scope === undefined ? {} : { scope: flags.scope }),
    ...(flags.audience.length === 0 ? {} : { audience: flags.audience }),
    ...(flags.auth === undefined ? {} : { auth_method: flags.auth }),
    ...(flags.group === undefined ? {} : { group: flags.group }),
    ...(flags.label.length === 0 ? {} : { labels: parseLabels(flags.label) }),
    ...(lifetime === undefined ? {} : { token_lifetime_seconds: lifetime }),
  };
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}
