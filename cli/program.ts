import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addApiKeyCommands } from './commands/api-key-program.ts';
import { addAppCommands } from './commands/app-program.ts';
import { addAuditCommands } from './commands/audit-program.ts';
import { addBackupCommands } from './commands/backup-program.ts';
import { addCampaignCommands } from './commands/campaign-program.ts';
import { addClientCommands } from './commands/client-program.ts';
import { addCompletionCommand } from './commands/completion.ts';
import { addEnrollmentCommands } from './commands/enrollment-program.ts';
import { addExplainCommand } from './commands/explain-program.ts';
import { addFleetCommands } from './commands/fleet-program.ts';
import { addKeysCommands } from './commands/keys-program.ts';
import { addMigrateCommand } from './commands/migrate-program.ts';
import { addPolicyCommands } from './commands/policy-program.ts';
import { addRevokeCommands } from './commands/revoke-program.ts';
import { addServeCommands } from './commands/serve.ts';
import { addSessionsCommands } from './commands/sessions-program.ts';
import { addTemplateCommands } from './commands/template-program.ts';
import { addTokenCommands } from './commands/token-program.ts';

const { version } = JSON.parse(
  readFileSync(
    new URL(import.meta.url.endsWith('.ts') ? './package.json' : '../package.json', import.meta.url),
    'utf8',
  ),
) as { version: string };

/** The `fleetgate` command, its subcommands and their help. */
export function createProgram(): Command {
  const program = new Command('fleetgate')
    .description('OAuth 2.0 access control for MQTT fleets.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError("('fleetgate --help' lists commands and options)")
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  fleetgate demo                                     see it work, in a temporary directory
  fleetgate up --data ./fleet                        issuer and broker in one process
  fleetgate client create --data ./fleet --id sensor-1 \\
      --scope "telemetry.write commands.read" --out sensor-1.json
  fleetgate token request --credentials sensor-1.json
  fleetgate policy explain --policy fleet/policy.yaml --client-id sensor-1 \\
      --scope telemetry.write publish devices/sensor-2/telemetry/t

Exit codes: 0 done (also when nothing was to do), 1 failed, 2 bad usage or configuration, 3 partly done.
Data goes to stdout, all else to stderr. NO_COLOR is honoured.`,
    );
  addServeCommands(program);
  addClientCommands(program);
  addTemplateCommands(program);
  addFleetCommands(program);
  addEnrollmentCommands(program);
  addCampaignCommands(program);
  addAppCommands(program);
  addApiKeyCommands(program);
  addTokenCommands(program);
  addRevokeCommands(program);
  addSessionsCommands(program);
  addKeysCommands(program);
  addAuditCommands(program);
  addBackupCommands(program);
  addMigrateCommand(program);
  addPolicyCommands(program);
  addExplainCommand(program);
  addCompletionCommand(program);
  inheritSettings(program);
  return program;
}

/** Subcommands made after their parent's settings do not have them; each gets them here. */
function inheritSettings(command: Command, parentPath = command.name()): void {
  for (const child of command.commands) {
    const path = `${parentPath} ${child.name()}`;
    child.copyInheritedSettings(command).showHelpAfterError(`('${path} --help' lists its options)`);
    inheritSettings(child, path);
  }
}
