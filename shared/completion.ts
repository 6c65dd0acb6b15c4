/** Shell completion scripts, made from the shape of a command. Pure: neither a shell nor a command line library is known here. */

export const completionShells = ['bash', 'zsh', 'fish'] as const;
export type CompletionShell = (typeof completionShells)[number];

export interface OptionShape {
  /** As `['-f', '--file']`. */
  readonly flags: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices?: readonly string[];
  readonly takesFile?: boolean;
}

export interface ArgumentShape {
  readonly name: string;
  readonly choices?: readonly string[];
  readonly takesFile?: boolean;
}

export interface CommandShape {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionShape[];
  readonly arguments: readonly ArgumentShape[];
  readonly commands: readonly CommandShape[];
}

/** What {@link commandShape} reads of a command; commander's `Command` is one. */
export interface CommanderLike {
  name(): string;
  summary(): string;
  description(): string;
  readonly options: readonly {
    readonly flags: string;
    readonly short?: string | undefined;
    readonly long?: string | undefined;
    readonly description: string;
    readonly required: boolean;
    readonly optional: boolean;
    readonly hidden: boolean;
    readonly argChoices?: readonly string[] | undefined;
  }[];
  readonly registeredArguments: readonly {
    name(): string;
    readonly argChoices?: readonly string[] | undefined;
  }[];
  readonly commands: readonly CommanderLike[];
}

// A value named so is completed with file names.
const fileNamePattern = /[<[](\w+-)?(file|path|dir|folder)[\].>]/i;

/** The shape of a command and all below it, `--help` added to each. */
export function commandShape(command: CommanderLike): CommandShape {
  const help: OptionShape = { flags: ['-h', '--help'], description: 'print help', takesValue: false };
  const options = command.options
    .filter(({ hidden }) => !hidden)
    .map(
      (option): OptionShape => ({
        flags: [option.short, option.long].filter((flag) => flag !== undefined),
        description: option.description,
        takesValue: option.required || option.optional,
        takesFile: fileNamePattern.test(option.flags),
        ...(option.argChoices === undefined ? {} : { choices: option.argChoices }),
      }),
    );
  return {
    name: command.name(),
    description: command.summary() || command.description(),
    options: [...options, help],
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      takesFile: fileNamePattern.test(`<${argument.name()}>`),
      ...(argument.argChoices === undefined ? {} : { choices: argument.argChoices }),
    })),
    commands: command.commands.map(commandShape),
  };
}

/**
 * A script that completes commands, options, their choices and files, for the shell to read at its start.
 *
 *     fleetgate-agent completion bash > ~/.local/share/bash-completion/completions/fleetgate-agent
 *
 * @throws TypeError for a name, flag or choice that a shell could read as more than a word
 */
export function completionScript(shell: CompletionShell, program: CommandShape): string {
  checkWords(program);
  const places = placesOf(program, '');
  if (shell === 'bash') return bashScript(program.name, places);
  return shell === 'zsh' ? zshScript(program.name, places) : fishScript(program.name, places);
}

/** A command and the words that lead to it, as `/client/create`; the program itself is the empty path. */
interface Place {
  path: string;
  command: CommandShape;
}

function placesOf(command: CommandShape, path: string): Place[] {
  return [
    { path, command },
    ...command.commands.flatMap((child) => placesOf(child, `${path}/${child.name}`)),
  ];
}

function checkWords(command: CommandShape): void {
  const choices = [...command.options, ...command.arguments].flatMap(({ choices = [] }) => choices);
  const flags = command.options.flatMap((option) => option.flags);
  for (const word of [command.name, ...flags, ...choices]) {
    if (!/^[A-Za-z0-9._-]+$/.test(word)) throw new TypeError(`'${word}' cannot be completed`);
  }
  command.commands.forEach(checkWords);
}

/** Lines of a `case` over paths, the same in bash and zsh, that keep `path` at the command typed so far. */
function walkCases(places: readonly Place[]): string[] {
  return places.flatMap(({ path, command }) => [
    ...command.options
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ flags }) => flags.map((flag) => `      '${path} ${flag}') i=$((i + 1)) ;;`)),
    ...command.commands.map(({ name }) => `      '${path} ${name}') path='${path}/${name}' ;;`),
  ]);
}

function functionName(name: string): string {
  return `_${name.replace(/[^A-Za-z0-9]/g, '_')}`;
}

function wordsAt({ options, commands, arguments: args }: CommandShape): string[] {
  return [
    ...commands.map(({ name }) => name),
    ...args.flatMap(({ choices = [] }) => choices),
    ...options.flatMap(({ flags }) => flags),
  ];
}

function bashScript(name: string, places: readonly Place[]): string {
  const values = places.flatMap(({ path, command }) =>
    command.options
      .filter(({ takesValue }) => takesValue)
      .map(({ flags, choices, takesFile }) => {
        const patterns = flags.map((flag) => `'${path} ${flag}'`).join(' | ');
        if (choices !== undefined) return `    ${patterns}) words='${choices.join(' ')}' ;;`;
        return `    ${patterns}) files=${takesFile ? 'yes' : 'no'} ;;`;
      }),
  );
  const words = places.map(({ path, command }) => {
    const files = command.arguments.some(({ takesFile }) => takesFile) ? ' files=yes' : '';
    return `      '${path}') words='${wordsAt(command).join(' ')}'${files} ;;`;
  });
  const call = functionName(name);
  return `# bash completion for ${name}
${call}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  local path='' words='' files='' i
  # --option=value comes as three words.
  if [ "$current" = '=' ]; then
    current=''
  elif [ "$previous" = '=' ]; then
    previous="\${COMP_WORDS[COMP_CWORD - 2]}"
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
${walkCases(places).join('\n')}
    esac
    [ "\${COMP_WORDS[i]}" = '=' ] && i=$((i + 1))
  done
  case "$path $previous" in
${values.join('\n')}
  esac
  if [ -z "$words" ] && [ -z "$files" ]; then
    case "$path" in
${words.join('\n')}
    esac
  fi
  COMPREPLY=()
  local IFS=$'\\n'
  if [ -n "$words" ]; then
    COMPREPLY=($(IFS=' ' compgen -W "$words" -- "$current"))
  fi
  if [ "$files" = yes ]; then
    compopt -o filenames 2> /dev/null
    COMPREPLY+=($(compgen -f -- "$current"))
  fi
}
complete -F ${call} ${name}
`;
}

function zshScript(name: string, places: readonly Place[]): string {
  const values = places.flatMap(({ path, command }) =>
    command.options
      .filter(({ takesValue }) => takesValue)
      .map(({ flags, choices, takesFile }) => {
        const patterns = flags.map((flag) => `'${path} ${flag}'`).join(' | ');
        const action =
          choices !== undefined ? `compadd -- ${choices.join(' ')}` : takesFile ? '_files' : '_message value';
        return `    ${patterns}) ${action}; return ;;`;
      }),
  );
  const words = places.map(({ path, command }) => {
    const described = [
      ...command.commands.map(({ name: word, description }) => describe(word, description)),
      ...command.arguments.flatMap(({ choices = [] }) => choices.map((choice) => describe(choice, ''))),
      ...command.options.flatMap(({ flags, description }) =>
        flags.map((flag) => describe(flag, description)),
      ),
    ];
    const files = command.arguments.some(({ takesFile }) => takesFile) ? '; _files' : '';
    return `    '${path}') words=(${described.join(' ')}); _describe '${name}' words${files} ;;`;
  });
  const call = functionName(name);
  return `#compdef ${name}
# zsh completion for ${name}
${call}() {
  local previous="\${words[CURRENT - 1]}" path='' i
  local -a typed=("\${words[@]}")
  for ((i = 2; i < CURRENT; i++)); do
    case "$path \${typed[i]}" in
${walkCases(places).join('\n')}
    esac
  done
  case "$path $previous" in
${values.join('\n')}
  esac
  local -a words
  case "$path" in
${words.join('\n')}
  esac
}
if [ "$funcstack[1]" = '${call}' ]; then
  ${call} "$@"
else
  compdef ${call} ${name}
fi
`;

  function describe(word: string, description: string): string {
    return quote(`${word}:${oneLine(description)}`);
  }
}

function fishScript(name: string, places: readonly Place[]): string {
  const call = functionName(name);
  const lines = places.flatMap(({ path, command }) => {
    const here = `complete -c ${name} -n 'test (_${call}_path) = "${path}"'`;
    return [
      ...command.commands.map(
        ({ name: word, description }) => `${here} -f -a ${word} -d ${quote(oneLine(description))}`,
      ),
      ...command.arguments.map(({ choices, takesFile }) =>
        choices === undefined
          ? `${here}${takesFile ? ' -F' : ' -f'}`
          : `${here} -f -a '${choices.join(' ')}'`,
      ),
      ...command.options.map(({ flags, description, takesValue, choices, takesFile }) => {
        const named = flags.map((flag) =>
          flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
        );
        const value =
          choices !== undefined
            ? ` -x -a '${choices.join(' ')}'`
            : takesFile
              ? ' -r -F'
              : takesValue
                ? ' -x'
                : ' -f';
        return `${here} ${named.join(' ')}${value} -d ${quote(oneLine(description))}`;
      }),
    ];
  });
  const cases = places.flatMap(({ path, command }) => [
    ...command.options
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ flags }) => flags.map((flag) => `      case '${path} ${flag}'\n        set skip 1`)),
    ...command.commands.map(
      ({ name: word }) => `      case '${path} ${word}'\n        set path '${path}/${word}'`,
    ),
  ]);
  return `# fish completion for ${name}
function _${call}_path
  set -l path ''
  set -l skip 0
  for word in (commandline -opc)[2..]
    if test $skip = 1
      set skip 0
      continue
    end
    switch "$path $word"
${cases.join('\n')}
    end
  end
  echo "$path"
end
complete -c ${name} -f
${lines.join('\n')}
`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

// Single quotes mean nothing inside but their own end; written so that fish reads it too.
function quote(text: string): string {
  return `'${text.replaceAll('\\', '').replaceAll("'", '’')}'`;
}
