import { type CompletionShell, commandShape, completionScript, completionShells } from '@fleetgate/shared';
import { Argument, type Command } from 'commander';

/** `fleetgate completion bash|zsh|fish`. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print a completion script for a shell')
    .description('Print a script that completes commands, options and files in a shell.')
    .addArgument(new Argument('<shell>', 'the shell').choices(completionShells))
    .addHelpText(
      'after',
      `
Examples:
  source <(fleetgate completion bash)
  fleetgate completion zsh > "\${fpath[1]}/_fleetgate"
  fleetgate completion fish > ~/.config/fish/completions/fleetgate.fish`,
    )
    .action((shell: CompletionShell) => {
      process.stdout.write(completionScript(shell, commandShape(program)));
    });
}
