import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type CommandShape, completionScript } from '@fleetgate/shared';
import { afterAll, describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-completion-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mains = { fleetgate: 'cli/main.ts', 'fleetgate-agent': 'agent/main.ts' } as const;
type Program = keyof typeof mains;
type Shell = 'bash' | 'zsh' | 'fish';

/** Each asks a real shell, that has read the script, what it would offer for the words typed so far. */
const harness: Record<Shell, (program: Program, script: string) => string> = {
  bash: (program, script) => `
source '${script}'
COMP_WORDS=("$@"); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
$(complete -p ${program} | sed -E 's/.*-F ([^ ]+).*/\\1/')
printf '%s\\n' "\${COMPREPLY[@]}"`,
  // The functions of zsh's own completion only show what they are given.
  zsh: (_program, script) => `
compdef() { target=$1 }
_describe() { print -l -- "\${(@)\${(@P)2}%%:*}" }
_files() { print files }
_message() { : }
compadd() { shift; print -l -- "$@" }
source '${script}'
words=("$@"); CURRENT=$#words
$target`,
  fish: (_program, script) => `
source '${script}'
complete -C (string join ' ' -- $argv) | string split -f1 \\t
true`,
};

/** The script as the program prints it, in a file. */
async function scriptFile(shell: Shell, program: Program): Promise<string> {
  const file = join(folder, `${program}.${shell}`);
  const args = ['--conditions=@fleetgate/source', mains[program], 'completion', shell];
  writeFileSync(file, (await run(process.execPath, args, { cwd: root })).stdout);
  return file;
}

const scriptFiles = new Map<string, Promise<string>>();

async function offered(shell: Shell, program: Program, words: readonly string[]): Promise<string[]> {
  const name = `${program} ${shell}`;
  const script = scriptFiles.get(name) ?? scriptFile(shell, program);
  scriptFiles.set(name, script);
  const asking = join(folder, `ask-${program}.${shell}`);
  writeFileSync(asking, harness[shell](program, await script));
  const bare = shell === 'bash' ? ['--norc'] : shell === 'zsh' ? ['-f'] : ['--no-config'];
  const { stdout } = await run(shell, [...bare, asking, program, ...words], { cwd: folder });
  return stdout.split('\n').filter((line) => line !== '');
}

function isInstalled(shell: Shell): boolean {
  try {
    execFileSync(shell, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// A shell that is not installed here cannot be asked; where everything is tested, all three are.
describe.each(['bash', 'zsh', 'fish'] as const)('%s offers', (shell) => {
  const asked = test.skipIf(process.env['CI'] === undefined && !isInstalled(shell));

  asked.each<[string, Program, string[], string[]]>([
    ['commands', 'fleetgate', [''], ['up', 'client', 'policy', 'token', 'completion']],
    ['subcommands', 'fleetgate', ['client', ''], ['create', 'list', 'show', 'delete']],
    ['options', 'fleetgate', ['client', 'create', '--'], ['--id', '--scope', '--out', '--help']],
    ['choices of an option', 'fleetgate', ['client', 'list', '--format', ''], ['table', 'json']],
    ['choices of an argument', 'fleetgate', ['policy', 'explain', ''], ['publish', 'subscribe', 'receive']],
    [
      'the tools of a policy',
      'fleetgate',
      ['policy', ''],
      ['check', 'explain', 'matrix', 'lint', 'diff', 'test'],
    ],
    ['what a matrix is by', 'fleetgate', ['policy', 'matrix', '--by', ''], ['scope', 'client', 'group']],
    ['how a matrix is written', 'fleetgate', ['policy', 'matrix', '--format', ''], ['html', 'csv']],
    ['options of lint', 'fleetgate', ['policy', 'lint', '--'], ['--strict', '--clients', '--selector']],
    ['whose a difference is', 'fleetgate', ['policy', 'diff', '--by', ''], ['scope', 'client', 'group']],
    [
      'options behind the value of an option',
      'fleetgate',
      ['client', 'create', '--id', 'create', '--'],
      ['--scope'],
    ],
    ['commands of the agent', 'fleetgate-agent', [''], ['token', 'run', 'publish', 'subscribe']],
    ['levels of quality', 'fleetgate-agent', ['publish', '--qos', ''], ['0', '1', '2']],
  ])('%s', async (_rule, program, words, expected) => {
    expect(await offered(shell, program, words)).toEqual(expect.arrayContaining(expected));
  });

  asked('files where a file is wanted, and nothing where a name is', async () => {
    writeFileSync(join(folder, 'device.json'), '{}');
    const files = await offered(shell, 'fleetgate', ['token', 'request', '--credentials', '']);
    expect(files).toContain(shell === 'zsh' ? 'files' : 'device.json');
    expect(await offered(shell, 'fleetgate', ['client', 'create', '--id', ''])).toEqual([]);
    for (const command of ['diff', 'test']) {
      const offer = await offered(shell, 'fleetgate', ['policy', command, '']);
      expect(offer).toContain(shell === 'zsh' ? 'files' : 'device.json');
    }
  });
});

test('a word that a shell could read as more than a word is refused', () => {
  const command = (more: Partial<CommandShape>): CommandShape => ({
    name: 'fleetgate',
    description: '',
    options: [],
    arguments: [],
    commands: [],
    ...more,
  });
  const options = [{ flags: ['--a'], description: '', takesValue: true, choices: ['$(id)'] }];
  expect(() => completionScript('bash', command({ options }))).toThrow(TypeError);
  expect(() => completionScript('zsh', command({ name: 'a b' }))).toThrow(TypeError);
});
