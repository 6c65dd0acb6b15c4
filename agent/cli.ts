import { readFileSync } from 'node:fs';
import { FleetgateError } from '@fleetgate/shared';
import { Command, CommanderError } from 'commander';
import type { AccessToken } from './access-token.ts';
import { readCredentialsFile } from './store.ts';
import { createTokenSource } from './token-source.ts';

const { version } = JSON.parse(
  readFileSync(
    new URL(import.meta.url.endsWith('.ts') ? './package.json' : '../package.json', import.meta.url),
    'utf8',
  ),
) as { version: string };

/** Runs the `fleetgate-agent` command; its exit code: 0 done, 1 failed, 2 bad usage or credentials. */
export async function runAgentCommand(argv: readonly string[]): Promise<0 | 1 | 2> {
  try {
    await createProgram().parseAsync(argv);
    return 0;
  } catch (error) {
    // commander has said what is wrong; 0 is --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${describeError(error)}\n`);
    return isUsageError(error) ? 2 : 1;
  }
}

function createProgram(): Command {
  const program = new Command('fleetgate-agent')
    .description('Device agent: access tokens for MQTT devices.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError("('fleetgate-agent --help' lists commands and options)")
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent token --credentials device.json
  fleetgate-agent token --credentials device.json --format json

Exit codes: 0 done, 1 failed, 2 bad usage or credentials.
Data goes to stdout, all else to stderr.`,
    );
  const token = program
    .command('token')
    .summary('print one access token')
    .description('Ask the issuer for one access token and print it.')
    .requiredOption('--credentials <file>', 'credentials file of the device, mode 0600')
    .option('--format <format>', 'text (the token alone) or json', 'text')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent token --credentials device.json
  mosquitto_pub -i sensor-1 -u sensor-1 -P "$(fleetgate-agent token --credentials sensor-1.json)" \\
      -t devices/sensor-1/telemetry/t -m 21.5`,
    )
    .action(async (flags: { credentials: string; format: string }) => {
      if (flags.format !== 'text' && flags.format !== 'json') {
        token.error(`error: --format takes text or json, not '${flags.format}'`);
      }
      const accessToken = await createTokenSource(await readCredentialsFile(flags.credentials)).get();
      process.stdout.write(flags.format === 'json' ? formatTokenJson(accessToken) : `${accessToken.value}\n`);
    });
  token.copyInheritedSettings(program);
  return program;
}

function formatTokenJson(token: AccessToken): string {
  const expiresAt = new Date(Date.now() + token.expiresInSeconds() * 1000).toISOString();
  return `${JSON.stringify({ access_token: token.value, expires_at: expiresAt, scope: token.scope }, null, 2)}\n`;
}

function isUsageError(error: unknown): boolean {
  return error instanceof FleetgateError && ['credentials_invalid', 'not_supported'].includes(error.code);
}

// The message of an expected error, the stack of one that nobody expected.
function describeError(error: unknown): string {
  if (error instanceof FleetgateError) return `fleetgate-agent: ${error.message}`;
  return `fleetgate-agent: unexpected error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
