import type { Command } from 'commander';
import { parseDuration } from '../duration.ts';
import { UsageError } from '../exit.ts';
import type { RowFormat } from '../output.ts';
import type { Rotation, SecretQuery } from '../secret-client.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';
import { formatRotated, formatSecrets, listSecrets, overlapNote, rotateSecret } from './secret.ts';

interface RotateFlags extends ConnectionOptions {
  overlap?: string;
  untilNewIsUsed?: boolean;
  expiresIn?: string;
  revokeTokens?: boolean;
  out?: string;
  brokerUrl?: string;
  format: RowFormat;
}

interface SecretsFlags extends ConnectionOptions {
  neverUsed?: boolean;
  expiring?: string;
  format: RowFormat;
}

/** `fleetgate client rotate-secret|secrets|end-secret`. */
export function addSecretCommands(client: Command): void {
  withConnection(client.command('rotate-secret <client-id>'))
    .summary('give a machine a new secret')
    .description('Make a new secret for a machine. The old one goes on for a while, so that none is cut off.')
    .option('--overlap <duration>', 'how long the old secret goes on, 0 to end it at once (default: 7d)')
    .option('--until-new-is-used', 'end the old secret a minute after the new one is first used')
    .option('--expires-in <duration>', 'when the new secret ends (default: never)')
    .option('--revoke-tokens', 'revoke the tokens it has too; needs --overlap 0')
    .option('--out <file>', 'rewrite a credentials file, or make one (0600), instead of printing the secret')
    .option('--broker-url <url>', 'broker for a credentials file that is new (default: the running one)')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
A machine has at most two live secrets. The new one is shown this once: keep what is printed, or use --out. With
--until-new-is-used and no --overlap the old one waits for the machine however long that takes.

Examples:
  fleetgate client rotate-secret sensor-1 --out sensor-1.json
  fleetgate client rotate-secret sensor-1 --until-new-is-used --format json
  fleetgate client rotate-secret sensor-1 --overlap 0 --revoke-tokens     the secret was seen`,
    )
    .action(async (clientId: string, flags: RotateFlags) => {
      const rotation = rotationOf(flags);
      const { admin, brokerUrl } = await connect(flags);
      const url = flags.brokerUrl ?? brokerUrl;
      const rotated = await rotateSecret(admin, {
        clientId,
        rotation,
        ...(flags.out === undefined ? {} : { out: flags.out }),
        ...(url === undefined ? {} : { brokerUrl: url }),
      });
      process.stdout.write(formatRotated(rotated, flags.format));
      if (flags.out !== undefined) note(`credentials written to ${flags.out}`);
      const overlap = overlapNote(rotated);
      if (overlap !== undefined) note(overlap);
    });

  withConnection(client.command('secrets [client-id]'))
    .summary('show the secrets of a machine, or those that need looking at')
    .description(
      'Show when the secrets of a machine were made, used and end; or which of all need looking at.',
    )
    .option('--never-used', 'of all machines those that were never used, the oldest first')
    .option('--expiring <duration>', 'of all machines those that end within this time, the next first')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
A secret itself is never shown again.

Examples:
  fleetgate client secrets sensor-1
  fleetgate client secrets --never-used --format csv
  fleetgate client secrets --expiring 30d`,
    )
    .action(async (clientId: string | undefined, flags: SecretsFlags) => {
      const query = queryOf(flags);
      if ((clientId === undefined) === (query === undefined)) {
        throw new UsageError('name one machine, or ask for --never-used or --expiring of all');
      }
      const { admin } = await connect(flags);
      const secrets =
        query === undefined
          ? await admin.secretsOf(clientId as string)
          : await Array.fromAsync(listSecrets(admin, query));
      process.stdout.write(formatSecrets(secrets, flags.format, query !== undefined));
    });

  withConnection(client.command('end-secret <client-id> <secret-id>'))
    .summary('end one secret of a machine now')
    .description(
      "End one secret of a machine now. 'fleetgate client secrets' has its id. Tokens the machine has live on.",
    )
    .addHelpText('after', '\nExamples:\n  fleetgate client end-secret sensor-1 0f3a55c1d2e4b697')
    .action(async (clientId: string, secretId: string, flags: ConnectionOptions) => {
      await (await connect(flags)).admin.endSecret(clientId, secretId);
      process.stdout.write(`${secretId}\n`);
    });
}

function rotationOf(flags: RotateFlags): Rotation {
  const overlap = flags.overlap === undefined ? undefined : parseDuration('--overlap', flags.overlap);
  if (flags.revokeTokens === true && overlap !== 0) {
    throw new UsageError(
      '--revoke-tokens needs --overlap 0: whoever has the old secret would fetch new tokens with it',
    );
  }
  const lifetime = flags.expiresIn === undefined ? undefined : parseDuration('--expires-in', flags.expiresIn);
  return {
    ...(overlap === undefined ? {} : { overlap_seconds: overlap }),
    ...(flags.untilNewIsUsed === true ? { until_new_is_used: true } : {}),
    ...(lifetime === undefined ? {} : { expires_at: Math.ceil(Date.now() / 1000) + lifetime }),
    ...(flags.revokeTokens === true ? { revoke_tokens: true } : {}),
  };
}

function queryOf({ neverUsed, expiring }: SecretsFlags): SecretQuery | undefined {
  if (neverUsed === true && expiring !== undefined) {
    throw new UsageError('--never-used and --expiring are two lists; ask for one');
  }
  if (neverUsed === true) return { state: 'never_used' };
  if (expiring === undefined) return undefined;
  return { state: 'expiring', within_seconds: parseDuration('--expiring', expiring) };
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
