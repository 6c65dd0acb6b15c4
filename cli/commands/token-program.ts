import { FleetgateError, OAuthError } from '@fleetgate/shared';
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
    .option('--credentials <file>', 'credentials file of the device, mode 0600')
    // Not requiredOption, which hides a misspelled --credentials behind "not specified".
    .hook('preAction', (used) => {
      if (used.opts()['credentials'] === undefined) {
        used.error("error: required option '--credentials <file>' not specified");
      }
    })
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
  let issuer = '';
  let clientId = '';
  try {
    const credentials = await readCredentialsFile(credentialsFile);
    ({ issuer, client_id: clientId } = credentials);
    const token = await createTokenSource(credentials).get();
    if (!asJson) return `${token.value}\n`;
    const expiresAt = new Date(Date.now() + token.expiresInSeconds() * 1000).toISOString();
    return formatJson({ access_token: token.value, expires_at: expiresAt, scope: token.scope });
  } catch (error) {
    if (error instanceof FleetgateError && error.code === 'credentials_invalid') {
      throw new UsageError(error.message);
    }
    if (error instanceof OAuthError && error.code === 'invalid_client') {
      const words = `${issuer} does not accept client '${clientId}' by what ${credentialsFile} holds`;
      const look = `see 'fleetgate client show ${clientId}' and, for why, 'fleetgate audit list --target ${clientId}'`;
      throw new OAuthError(error.code, `${words}; ${look}`);
    }
    if (error instanceof FleetgateError && error.code === 'token_request_failed') {
      const hint = `start one with 'fleetgate up'; ${credentialsFile} names this issuer`;
      throw new FleetgateError(error.code, `${error.message}; ${hint}`);
    }
    throw error;
  }
}
