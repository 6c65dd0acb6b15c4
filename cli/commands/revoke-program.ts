import type { Command } from 'commander';
import type { NewRevocation } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import type { SelectedFlags } from '../fleet/selected.ts';
import type { RowFormat } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';
import {
  formatRevocations,
  formatRevoked,
  listRevocations,
  parseMoment,
  type Revoked,
  revokeClients,
  tokenIdIn,
} from './revoke.ts';
import { didSelected, withSelector } from './selected-option.ts';

interface RevokeFlags extends ConnectionOptions {
  format: RowFormat;
}

/** `fleetgate revoke token|client|issued-before|key|list`. */
export function addRevokeCommands(program: Command): void {
  const revoke = program
    .command('revoke')
    .summary('end tokens before they expire')
    .description('End tokens before they expire. Brokers close the sessions that hold one within a second.')
    .addHelpText(
      'after',
      `
What to use:
  a token was seen where it should not be    fleetgate revoke token --token-file seen.jwt
  a machine is lost                          fleetgate client delete ID (revokes its tokens too)
  a machine is to fetch a new token          fleetgate revoke client ID
  everybody is to fetch a new token          fleetgate revoke issued-before now
  a signing key was seen                     fleetgate revoke key KID

A client that was revoked may fetch a new token with the secret it has. A revocation cannot be taken back; it is
forgotten when no token it could hit is alive.

Examples:
  fleetgate revoke client sensor-1
  fleetgate revoke issued-before now --client sensor-1`,
    );

  withConnection(revoke.command('token'))
    .summary('one token')
    .description('Revoke one token, by its jti or by the token itself read from a file.')
    .option('--jti <jti>', 'jti of the token')
    .option('--token-file <file>', "file that holds the token; '-' is standard input")
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
A token is never an argument: arguments can be read by every user of the machine.

Examples:
  fleetgate revoke token --token-file seen.jwt
  fleetgate revoke token --jti 7a51c0de-31fe-4c17-9d5c-7d6d6b6a5a21`,
    )
    .action(async (flags: RevokeFlags & { jti?: string; tokenFile?: string }) => {
      const { jti, tokenFile } = flags;
      if ((jti === undefined) === (tokenFile === undefined)) {
        throw new UsageError('name the token with either --jti or --token-file');
      }
      const { admin } = await connect(flags);
      await revokeOne(flags, { kind: 'token', jti: jti ?? (await tokenIdIn(tokenFile as string, admin)) });
    });

  withSelector(withConnection(revoke.command('client [client-id...]')))
    .summary('all tokens that clients have now')
    .description('Revoke all tokens that were issued to clients so far. They may fetch new ones.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Exit codes: 1 when none of several was revoked, 3 when some were.

Examples:
  fleetgate revoke client sensor-1
  fleetgate revoke client --selector group=plant-7 --yes`,
    )
    .action(async (clientIds: string[], flags: RevokeFlags & SelectedFlags) => {
      const { admin } = await connect(flags);
      if (await didSelected(clientIds, flags, admin, 'revoke the tokens of', admin.revokeSelected)) return;
      const { revoked, exitCode } = await revokeClients(admin, clientIds, note);
      for (const one of revoked) noteRepeated(one);
      const views = revoked.map(({ revocation }) => revocation);
      if (views.length > 0 || flags.format !== 'table') {
        process.stdout.write(formatRevocations(views, flags.format));
      }
      process.exitCode = exitCode;
    });

  withConnection(revoke.command('issued-before <time>'))
    .summary('all tokens issued before a moment')
    .description('Revoke all tokens that were issued before a moment, of one client or of all.')
    .option('--client <client-id>', 'of this client only')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
TIME is 'now' (all that was issued so far), seconds since 1970, or a time such as 2026-01-31T12:00:00Z.

Examples:
  fleetgate revoke issued-before now
  fleetgate revoke issued-before 2026-01-31T12:00:00Z --client sensor-1`,
    )
    .action(async (moment: string, flags: RevokeFlags & { client?: string }) => {
      await revokeOne(flags, {
        kind: 'issued_before',
        ...(flags.client === undefined ? {} : { client_id: flags.client }),
        at: parseMoment(moment),
      });
    });

  withConnection(revoke.command('key <kid>'))
    .summary('all tokens signed with a key')
    .description(
      'Revoke all tokens signed with a key, and publish it no longer. Another signs if it was the active one.',
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nThe same as: fleetgate keys retire KID --compromised\nThe kid of a token is in its header: fleetgate token inspect --file token.jwt\n\nExample:\n  fleetgate revoke key CxOV1dL6wK52rFS2BmRwetwNgK5QrQosBEqK3Bz0vS0',
    )
    .action(async (kid: string, flags: RevokeFlags) => revokeOne(flags, { kind: 'key', kid }));

  withConnection(revoke.command('list'))
    .summary('what is revoked')
    .description('List the revocations that have not expired, in the order they were made.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate revoke list\n  fleetgate revoke list --format json | jq length',
    )
    .action(async (flags: RevokeFlags) => {
      const revocations = await Array.fromAsync(listRevocations((await connect(flags)).admin));
      process.stdout.write(formatRevocations(revocations, flags.format));
    });
}

async function revokeOne(flags: RevokeFlags, revocation: NewRevocation): Promise<void> {
  const revoked = await (await connect(flags)).admin.revoke(revocation);
  noteRepeated(revoked);
  process.stdout.write(formatRevoked(revoked, flags.format));
}

function noteRepeated({ isNew }: Revoked): void {
  if (!isNew) note('revoked already; nothing to do');
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
