import { type Command, Option } from 'commander';
import type { ClientView } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import type { SelectedFlags } from '../fleet/selected.ts';
import type { SelectionStep } from '../fleet-client.ts';
import type { RowFormat } from '../output.ts';
import { formatClient, formatClients } from './client.ts';
import { type ChangeFlags, changeEach, clientPatch, unsettable } from './client-changes.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';
import { didSelected, withSelector } from './selected-option.ts';

interface UpdateFlags extends ConnectionOptions, ChangeFlags {
  revokeTokens?: boolean;
  format: RowFormat;
}

interface StateFlags extends ConnectionOptions {
  format: RowFormat;
}

const fieldNames = Array.from(unsettable.keys()).join(', ');

/** `fleetgate client update|quarantine|release`. */
export function addClientChangeCommands(client: Command): void {
  withConnection(client.command('update <client-id>'))
    .summary('change what a machine may do')
    .description('Change what is registered of a machine. What is not named stays as it is.')
    .option('--scope <scope>', 'scopes it may ask for, separated by spaces; replaces all it had')
    .option(
      '--audience <audience>',
      'audience it may ask for; may be given again; replaces all it had',
      collect,
    )
    .option(
      '--auth <method>',
      "how it authenticates, a method of 'client create'; a secret or context is made by 'client rotate-secret'",
    )
    .option('--group <group>', 'group, for {group} in scopes and policies')
    .option('--name <name>', 'name for people')
    .option('--label <name=value>', 'label to set; may be given again; others stay', collect)
    .option('--remove-label <name>', 'label to remove; may be given again', collect)
    .option('--token-lifetime-seconds <seconds>', 'lifetime of its tokens')
    .addOption(
      new Option(
        '--unset <field>',
        `${fieldNames} to take back to its default; may be given again`,
      ).argParser(collectField),
    )
    .option('--revoke-tokens', 'also revoke the tokens it has')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
A change holds for the next token. A token it has keeps what it was issued with until it expires: to take something
away now, add --revoke-tokens, and it fetches a new one.

Examples:
  fleetgate client update sensor-1 --scope "telemetry.write commands.read"
  fleetgate client update sensor-1 --scope telemetry.write --revoke-tokens
  fleetgate client update sensor-1 --label line=3 --remove-label spare --unset group`,
    )
    .action(async (clientId: string, flags: UpdateFlags) => {
      const patch = clientPatch(flags);
      const updated = await (await connect(flags)).admin.updateClient(clientId, patch, {
        revokeTokens: flags.revokeTokens === true,
      });
      process.stdout.write(formatClient(updated, flags.format));
    });

  withSelector(withConnection(client.command('quarantine [client-id...]')))
    .summary('take machines out of service')
    .description(
      'Revoke the tokens of machines and issue them no more until they are released. Brokers close their sessions ' +
        'within a second.',
    )
    .requiredOption('--reason <text>', 'why; shown with the machine')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
A machine in quarantine is answered as if it were unknown; the audit trail has the reason. It keeps its registration
and its secret. Of one that is in quarantine already the reason is replaced.

Exit codes: 1 when none of several is known, 3 when some are.

Examples:
  fleetgate client quarantine sensor-1 --reason "seen at another address"
  fleetgate client quarantine --selector batch=7 --reason "recall of batch 7"`,
    )
    .action(async (clientIds: string[], flags: StateFlags & SelectedFlags & { reason: string }) => {
      const { admin } = await connect(flags);
      const { reason } = flags;
      const quarantine = (step: SelectionStep) => admin.quarantineSelected({ ...step, reason });
      if (await didSelected(clientIds, flags, admin, 'take out of service', quarantine)) return;
      await changeState(clientIds, flags, (clientId) => admin.quarantineClient(clientId, flags.reason));
    });

  withSelector(withConnection(client.command('release [client-id...]')))
    .summary('put machines back into service')
    .description('Issue tokens again to machines in quarantine. One that is in service stays so.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Exit codes: 1 when none of several is known, 3 when some are.

Examples:
  fleetgate client release sensor-1
  fleetgate client release --selector state=quarantined,batch=7`,
    )
    .action(async (clientIds: string[], flags: StateFlags & SelectedFlags) => {
      const { admin } = await connect(flags);
      if (await didSelected(clientIds, flags, admin, 'put back into service', admin.releaseSelected)) return;
      await changeState(clientIds, flags, (clientId) => admin.releaseClient(clientId));
    });
}

async function changeState(
  clientIds: readonly string[],
  { format }: StateFlags,
  act: (clientId: string) => Promise<ClientView>,
): Promise<void> {
  const { clients, exitCode } = await changeEach(clientIds, act, (line) => process.stderr.write(`${line}\n`));
  if (clients.length > 0 || format !== 'table') process.stdout.write(formatClients(clients, format));
  process.exitCode = exitCode;
}

function collectField(field: string, previous: string[] | undefined): string[] {
  if (!unsettable.has(field)) throw new UsageError(`--unset takes ${fieldNames}, not '${field}'`);
  return collect(field, previous);
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}
