import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { createProgram } from '../../cli/program.ts';

function commandsOf(command: Command, path: string): [string, Command][] {
  return command.commands.flatMap((one): [string, Command][] => {
    const name = `${path} ${one.name()}`;
    return [[name, one], ...commandsOf(one, name)];
  });
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

const commands = commandsOf(createProgram(), 'fleetgate').filter(([name]) => !name.endsWith(' help'));

test.each(commands)('%s --help says what it is for and has an example', (name, command) => {
  expect(command.summary()).not.toBe('');
  expect(command.description()).toMatch(/^[A-Z]/);
  expect([name, helpOf(command)]).toEqual([name, expect.stringMatching(/Examples?:\n {2}\S/)]);
});

const programOptions = createProgram().options.flatMap(({ short, long }) => [short, long]);

test.each(commands)('no option of %s is one of the program, which would get it', (_name, command) => {
  const own = command.options
    .flatMap(({ short, long }) => [short, long])
    .filter((flag) => flag !== undefined);
  expect(own.filter((flag) => programOptions.includes(flag))).toEqual([]);
});

test.each(commands)('each option of %s is explained', (_name, command) => {
  for (const option of command.options)
    expect([option.flags, option.description]).not.toEqual([option.flags, '']);
});
