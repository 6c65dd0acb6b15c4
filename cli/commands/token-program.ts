import { FleetgateError } from '@fleetgate/shared';
import type { Command } from 'commander';
import { UsageError } from '../exit.ts';
import { type Format, formatJson } from '../output.ts';
import { formatOption } from './format-option.ts';
import { decodeToken, formatToken, readToken } from './token.ts';

/** `fleetgate token request|inspect`. */
export function addTokenCommands(program: Command): void {
  const token = program
    .command('token')
    .summary('request and inspect access tokens')
    .description('Request and inspect access tokens.')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate token request --credentials sensor-1.json
  fleetgate token inspect --file token.jwt`,
    );

  token
    .command('request')
    .summary('ask the issuer for a token')
    .description('Ask the issuer for one access token and print it: the token alone, or as JSON.')
    .requiredOption('--credentials <file>', 'credentials file of the device, mode 0600')
    .addOption(formatOption('table (the token alone) or json'))
    .addHelpText(
      'after',
      `
Examples:
  fleetgate token request --credentials sensor-1.json | fleetgate token inspect
  mosquitto_pub -i sensor-1 -u sensor-1 -P "$(fleetgate token request --credentials sensor-1.json)" \\
      -t devices/sensor-1/telemetry/t -m 21.5`,
    )
    .action(async (flags: { credentials: string; format: Format }) => {
      process.stdout.write(await requestToken(flags.credentials, flags.format === 'json'));
    });

  token
    .command('inspect')
    .summary('print what a token says')
    .description(
      'Print header and claims of a token read from standard input or a file. Nothing is verified.',
    )
    .option('--file <file>', "file that holds the token; '-' is standard input", '-')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
A token is never an argument: arguments can be read by every user of the machine.

Example:
  fleetgate token inspect --file token.jwt`,
    )
    .action(async (flags: { file: string; format: Format }) => {
      process.stdout.write(formatToken(decodeToken(await readToken(flags.file)), flags.format));
    });
}

async function requestToken(credentialsFile: string, asJson: boolean): Promise<string> {
  // Only this command needs the agent; the others start without it.
  const { createTokenSource, readCredentialsFile } = await import('@fleetgate/agent');
  try {
    const token = await createTokenSource(await readCredentialsFile(credentialsFile)).get();
    if (!asJson) return `${token.value}\n`;
    const expiresAt = new Date(Date.now() + token.expiresInSeconds() * 1000).toISOString();
    return formatJson({ access_token: token.value, expires_at: expiresAt, scope: token.scope });
  } catch (error) {
    if (error instanceof FleetgateError && error.code === 'credentials_invalid') {
      throw new UsageError(error.message);
    }
    throw error;
  }
}
