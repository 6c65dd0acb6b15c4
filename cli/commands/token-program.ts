import type { Command } from 'commander';
import { parseFormat } from '../output.ts';
import { decodeToken, formatToken, readToken } from './token.ts';

/** `fleetgate token inspect`. */
export function addTokenCommands(program: Command): void {
  const token = program
    .command('token')
    .summary('inspect access tokens')
    .description('Inspect access tokens.');

  token
    .command('inspect')
    .summary('print what a token says')
    .description(
      'Print header and claims of a token read from standard input or a file. Nothing is verified.',
    )
    .option('--file <file>', "file that holds the token; '-' is standard input", '-')
    .option('--format <format>', 'table or json', 'table')
    .addHelpText(
      'after',
      `
A token is never an argument: arguments can be read by every user of the machine.

Example:
  fleetgate token inspect --file token.jwt`,
    )
    .action((flags: { file: string; format: string }) => {
      const format = parseFormat(flags.format);
      process.stdout.write(formatToken(decodeToken(readToken(flags.file)), format));
    });
}
