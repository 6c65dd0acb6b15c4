import type { Command } from 'commander';

/** What `--help` prints of each command, each under a heading of its own. */
export function commandPage(programs: readonly Command[]): string {
  return [
    '# Commands\n',
    'Made by `npm run docs:reference` from the commands; do not edit. It is what `--help` prints of each.\n',
    ...programs.flatMap((program) => [
      `## ${program.name()}\n`,
      helpOf(program),
      ...below(program, program.name()),
    ]),
  ].join('\n');
}

function below(command: Command, path: string): string[] {
  return command.commands
    .filter((child) => child.name() !== 'help')
    .flatMap((child) => {
      const own = `${path} ${child.name()}`;
      return [`### ${own}\n`, helpOf(child), ...below(child, own)];
    });
}

/** The text as it is printed where no terminal says how wide it is. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => 80,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return `\`\`\`text\n${text.trim()}\n\`\`\`\n`;
}
