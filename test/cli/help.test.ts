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

const program = await createProgram();
const commands = commandsOf(program, 'fleetgate').filter(([name]) => !name.endsWith(' help'));

test.each(commands)('%s --help says what it is for and has an example', (name, command) => {
  expect(command.summary()).not.toBe('');
  expect(command.description()).toMatch(/^[A-Z]/);
  expect([name, helpOf(command)]).toEqual([name, expect.stringMatching(/Examples?:\n {2}\S/)]);
});

test.each(program.commands.map((command) => command.name()))(
  'fleetgate %s, loaded without the others, is the same',
  async (name) => {
    const alone = (await createProgram(name)).commands.filter((command) => command.name() === name);
    const among = program.commands.filter((command) => command.name() === name);
    const helps = (found: readonly Command[]) =>
      found.flatMap((command) => [command, ...commandsOf(command, name).map(([, one]) => one)]).map(helpOf);
    expect(helps(alone)).toEqual(helps(among));
  },
);

const programOptions = program.options.flatMap(({ short, long }) => [short, long]);

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
