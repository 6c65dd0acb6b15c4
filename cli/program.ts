import { readFileSync } from 'node:fs';
import { Command } from 'commander';

const { version } = JSON.parse(
  readFileSync(
    new URL(import.meta.url.endsWith('.ts') ? './package.json' : '../package.json', import.meta.url),
    'utf8',
  ),
) as { version: string };

type Add = (program: Command) => void;

/** What adds each command, in the order of `--help`; some add several. */
const parts: readonly { readonly names: readonly string[]; readonly load: () => Promise<Add> }[] = [
  {
    names: ['up', 'issuer', 'broker', 'demo'],
    load: async () => (await import('./commands/serve.ts')).addServeCommands,
  },
  { names: ['client'], load: async () => (await import('./commands/client-program.ts')).addClientCommands },
  {
    names: ['template'],
    load: async () => (await import('./commands/template-program.ts')).addTemplateCommands,
  },
  { names: ['fleet'], load: async () => (await import('./commands/fleet-program.ts')).addFleetCommands },
  {
    names: ['enrollment'],
    load: async () => (await import('./commands/enrollment-program.ts')).addEnrollmentCommands,
  },
  {
    names: ['campaign'],
    load: async () => (await import('./commands/campaign-program.ts')).addCampaignCommands,
  },
  { names: ['app'], load: async () => (await import('./commands/app-program.ts')).addAppCommands },
  { names: ['api-key'], load: async () => (await import('./commands/api-key-program.ts')).addApiKeyCommands },
  { names: ['token'], load: async () => (await import('./commands/token-program.ts')).addTokenCommands },
  { names: ['revoke'], load: async () => (await import('./commands/revoke-program.ts')).addRevokeCommands },
  {
    names: ['sessions'],
    load: async () => (await import('./commands/sessions-program.ts')).addSessionsCommands,
  },
  { names: ['keys'], load: async () => (await import('./commands/keys-program.ts')).addKeysCommands },
  { names: ['audit'], load: async () => (await import('./commands/audit-program.ts')).addAuditCommands },
  {
    names: ['backup', 'restore'],
    load: async () => (await import('./commands/backup-program.ts')).addBackupCommands,
  },
  { names: ['migrate'], load: async () => (await import('./commands/migrate-program.ts')).addMigrateCommand },
  { names: ['policy'], load: async () => (await import('./commands/policy-program.ts')).addPolicyCommands },
  { names: ['explain'], load: async () => (await import('./commands/explain-program.ts')).addExplainCommand },
  {
    names: ['completion'],
    load: async () => (await import('./commands/completion.ts')).addCompletionCommand,
  },
];

/**
 * The `fleetgate` command, its subcommands and their help.
 *
 * @param name of the one command that will run: only what it needs is loaded. Default, and for a name that is none: all.
 */
export async function createProgram(name?: string): Promise<Command> {
  const adders = await Promise.all(partsFor(name).map(({ load }) => load()));
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
  for (const add of adders) add(program);
  inheritSettings(program);
  return program;
}

function partsFor(name: string | undefined): typeof parts {
  if (name === '--version' || name === '-V') return [];
  // A script that completes the commands is made of all of them.
  const own = name === 'completion' ? undefined : parts.find(({ names }) => names.includes(name ?? ''));
  return own === undefined ? parts : [own];
}

/** Subcommands made after their parent's settings do not have them; each gets them here. */
function inheritSettings(command: Command, parentPath = command.name()): void {
  for (const child of command.commands) {
    const path = `${parentPath} ${child.name()}`;
    child.copyInheritedSettings(command).showHelpAfterError(`('${path} --help' lists its options)`);
    inheritSettings(child, path);
  }
}
