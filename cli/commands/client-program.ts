import { isIdentifier } from '@fleetgate/shared';
import { type Command, Option } from 'commander';
import type { ClientFilter, NewClient } from '../admin-client.ts';
import { formatCsv } from '../csv.ts';
import { UsageError } from '../exit.ts';
import type { SelectedFlags } from '../fleet/selected.ts';
import { formatJson, type RowFormat } from '../output.ts';
import { createClient, formatClient, formatClients, listClients, parseLabels } from './client.ts';
import { type ClientAuthFlags, planClientAuth, withClientAuth } from './client-auth.ts';
import { lifetimeSeconds } from './client-changes.ts';
import { addClientChangeCommands } from './client-changes-program.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';
import { addSecretCommands } from './secret-program.ts';
import { didSelected, withSelector } from './selected-option.ts';

interface CreateFlags extends ConnectionOptions, ClientAuthFlags {
  id?: string;
  name?: string;
  scope?: string;
  audience?: string[];
  group?: string;
  label?: string[];
  tokenLifetimeSeconds?: string;
  brokerUrl?: string;
  format: RowFormat;
}

interface ListFlags extends ConnectionOptions {
  format: RowFormat;
  quiet?: boolean;
}

interface FilterFlags {
  group?: string;
  label?: string;
  state?: string;
  selector?: string;
}

/** `fleetgate client create|list|show|update|quarantine|release|delete`. */
export function addClientCommands(program: Command): void {
  const client = program
    .command('client')
    .summary('register machines, list, change and delete them')
    .description('Register machines, list, change and delete them.')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate client create --id sensor-1 --scope telemetry.write --out sensor-1.json
  fleetgate client list --group plant-7
  fleetgate client update sensor-1 --scope "telemetry.write commands.read"
  fleetgate client quarantine sensor-1 --reason "seen at another address"
  fleetgate client delete sensor-1`,
    );

  withConnection(withClientAuth(client.command('create')))
    .summary('register a machine')
    .description('Register a machine and print it with its secret, or write its credentials file.')
    .option('--id <id>', 'client id, [A-Za-z0-9._-]{1,64} (default: one is made)')
    .option('--scope <scope>', 'scopes it may ask for, separated by spaces')
    .option('--audience <audience>', 'audience it may ask for; may be given again', collect)
    .option('--group <group>', 'group, for {group} in scopes and policies')
    .option('--name <name>', 'name for people')
    .option('--label <name=value>', 'label; may be given again', collect)
    .option('--token-lifetime-seconds <seconds>', "lifetime of its tokens (default: the issuer's)")
    .option('--broker-url <url>', 'broker written into the credentials file (default: the running one)')
    .option('--out <file>', 'write a credentials file (0600) instead of printing the secret')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
The secret is shown this once: keep what is printed, or use --out. With --auth private_key_jwt --out a key pair is
made here, and its private key goes into that file and nowhere else. With --auth oscore it gets a context for tokens
over CoAP.

Examples:
  fleetgate client create --id sensor-1 --scope "telemetry.write commands.read" --out sensor-1.json
  fleetgate client create --id press-7 --scope "mqtt:publish:plant/{client_id}/#" --format json
  fleetgate client create --id press-8 --scope telemetry.write --auth private_key_jwt --out press-8.json
  fleetgate client create --id valve-1 --scope telemetry.write --auth oscore --out valve-1.json
  fleetgate client create --id press-9 --scope telemetry.write --auth tls_client_auth --san-dns press-9.example`,
    )
    .action(async (flags: CreateFlags) => {
      const { registered, credentials } = planClientAuth(flags);
      const { admin, brokerUrl } = await connect(flags);
      const url = flags.brokerUrl ?? brokerUrl;
      const created = await createClient(admin, {
        client: { ...newClient(flags), ...registered },
        ...(credentials === undefined ? {} : { auth: credentials }),
        ...(flags.out === undefined ? {} : { out: flags.out }),
        ...(url === undefined ? {} : { brokerUrl: url }),
      });
      process.stdout.write(formatClient(created, flags.format));
      if (flags.out !== undefined) process.stderr.write(`credentials written to ${flags.out}\n`);
      for (const note of await createNotes(flags, url)) process.stderr.write(`note: ${note}\n`);
    });

  withConnection(client.command('list'))
    .summary('list the machines')
    .description('List the machines, ordered by client id.')
    .option('--group <group>', 'only those of this group')
    .option('--label <name=value>', 'only those with this label')
    .addOption(new Option('--state <state>', 'only those in this state').choices(['active', 'quarantined']))
    .option('--selector <selector>', 'only those, as group=plant-7,hw!=rev-a')
    .option('-q, --quiet', 'print client ids only')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate client list\n  fleetgate client list --state quarantined\n  fleetgate client list --selector "last_seen>30d"    # no token for a month\n  fleetgate client list --selector "expires<7d,group=plant-7"\n  fleetgate client list --format csv > fleet.csv',
    )
    .action(async (flags: ListFlags & FilterFlags) => {
      const clients = await Array.fromAsync(listClients((await connect(flags)).admin, filterOf(flags)));
      if (flags.quiet) process.stdout.write(clients.map(({ client_id }) => `${client_id}\n`).join(''));
      else process.stdout.write(formatClients(clients, flags.format));
    });

  withConnection(client.command('show <client-id>'))
    .summary('show one machine')
    .description('Show one machine; its secret is never shown again.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate client show sensor-1\n  fleetgate client show sensor-1 --format json | jq -r .scope',
    )
    .action(async (clientId: string, flags: ListFlags) => {
      process.stdout.write(
        formatClient(await (await connect(flags)).admin.getClient(clientId), flags.format),
      );
    });

  withSelector(withConnection(client.command('delete [client-id...]')))
    .summary('delete machines')
    .description(
      'Delete machines. Their next token request is refused, and the tokens they have are revoked.',
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate client delete sensor-1\n  fleetgate client delete --selector "client_id=test-*" --yes',
    )
    .action(async (clientIds: string[], flags: ListFlags & SelectedFlags) => {
      const { admin } = await connect(flags);
      if (await didSelected(clientIds, flags, admin, 'delete', admin.deleteSelected)) return;
      const results = [];
      for (const clientId of clientIds) {
        const deleted = await admin.deleteClient(clientId);
        results.push({ client_id: clientId, deleted });
        if (!deleted) process.stderr.write(`no client '${clientId}' is registered; nothing to delete\n`);
      }
      if (flags.format === 'json') process.stdout.write(formatJson(results));
      else if (flags.format === 'csv') process.stdout.write(formatCsv(['client_id', 'deleted'], results));
      else
        process.stdout.write(
          results
            .filter(({ deleted }) => deleted)
            .map(({ client_id }) => `${client_id}\n`)
            .join(''),
        );
    });
  addSecretCommands(client);
  addClientChangeCommands(client);
}

function filterOf({ group, label, state, selector }: FilterFlags): ClientFilter {
  return {
    ...(group === undefined ? {} : { group }),
    ...(label === undefined ? {} : { label }),
    ...(state === undefined ? {} : { state }),
    ...(selector === undefined ? {} : { selector }),
  };
}

/** What is legal and probably not meant. */
async function createNotes(flags: CreateFlags, brokerUrl: string | undefined): Promise<string[]> {
  const notes: string[] = [];
  if (flags.out !== undefined && brokerUrl === undefined) {
    notes.push(`no broker is known here, so ${flags.out} names none; --broker-url writes one into it`);
  }
  if (flags.scope === undefined) {
    notes.push('without --scope its tokens allow nothing');
  } else {
    // Loaded here: the other commands know of no policy.
    const { scopeNotesInForce } = await import('./scope-notes.ts');
    notes.push(...scopeNotesInForce({ ...flags, scope: flags.scope }, flags));
  }
  return notes;
}

function newClient(flags: CreateFlags): NewClient {
  if (flags.id !== undefined && !isIdentifier(flags.id)) {
    throw new UsageError(`--id takes [A-Za-z0-9._-]{1,64}, not '${flags.id}'`);
  }
  return {
    ...(flags.id === undefined ? {} : { client_id: flags.id }),
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.scope === undefined ? {} : { scope: flags.scope }),
    ...(flags.audience === undefined ? {} : { audience: flags.audience }),
    ...(flags.group === undefined ? {} : { group: flags.group }),
    ...(flags.label === undefined ? {} : { labels: parseLabels(flags.label) }),
    ...(flags.tokenLifetimeSeconds === undefined
      ? {}
      : { token_lifetime_seconds: lifetimeSeconds(flags.tokenLifetimeSeconds) }),
  };
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}
