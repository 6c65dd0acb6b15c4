import {
  type CompletionShell,
  commandShape,
  completionScript,
  completionShells,
  FleetgateError,
} from '@fleetgate/shared';
import { Argument, Command, CommanderError, Option } from 'commander';
import {
  collect,
  deviceCommand,
  formatOption,
  parseCount,
  parseHostAndPort,
  qosOption,
  sameClientIdNote,
  withBroker,
} from './cli-options.ts';
import { type DeviceFlags, note, UsageError } from './commands/device.ts';
import { type EnrollFlags, enroll } from './commands/enroll.ts';
import { type PublishFlags, publish } from './commands/publish.ts';
import { type RunFlags, run } from './commands/run.ts';
import { type SubscribeFlags, subscribe } from './commands/subscribe.ts';
import { printToken, type TokenFlags } from './commands/token.ts';
import type { AgentTracer } from './tracer.ts';
import { openTelemetryTracer, startTracing } from './tracing.ts';
import { version } from './version.ts';

/** Runs the `fleetgate-agent` command; its exit code: 0 done, 1 failed, 2 bad usage or credentials. */
export async function runAgentCommand(argv: readonly string[]): Promise<0 | 1 | 2> {
  try {
    const tracing = await startTracing({ serviceName: 'fleetgate-agent', onProblem: note });
    try {
      await createProgram(tracing && (await openTelemetryTracer())).parseAsync(argv);
    } finally {
      await tracing?.stop();
    }
    return 0;
  } catch (error) {
    // commander has said what is wrong; 0 is --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${describeError(error)}\n`);
    return isUsageError(error) ? 2 : 1;
  }
}

/** The `fleetgate-agent` command, its subcommands and their help. */
export function createProgram(tracer?: AgentTracer): Command {
  const program = new Command('fleetgate-agent')
    .description('Device agent: access tokens and MQTT sessions for devices.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError("('fleetgate-agent --help' lists commands and options)")
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent enroll --issuer https://issuer.example --claim-code-file code --out device.json
  fleetgate-agent token --credentials device.json
  fleetgate-agent run --credentials device.json --sink-file /run/device/token
  echo 21.5 | fleetgate-agent publish --credentials device.json devices/d1/telemetry/t --qos 1
  fleetgate-agent subscribe --credentials device.json 'devices/d1/commands/#'

Exit codes: 0 done, 1 failed, 2 bad usage or credentials.
Data goes to stdout, all else to stderr. A secret or token is never an argument.`,
    );
  const traced: Traced = (flags) => (tracer === undefined ? flags : { ...flags, tracer });
  addEnroll(program);
  addToken(program, traced);
  addRun(program, traced);
  addPublish(program, traced);
  addSubscribe(program, traced);
  addCompletion(program);
  for (const command of program.commands) {
    command
      .copyInheritedSettings(program)
      .showHelpAfterError(`('fleetgate-agent ${command.name()} --help' lists its options)`);
  }
  return program;
}

/** Options of a command, with what makes its spans. */
type Traced = <Flags extends DeviceFlags>(flags: Flags) => Flags;

function addEnroll(program: Command): void {
  program
    .command('enroll')
    .summary('get the device its identity, by a claim code or a key of its group')
    .description('Get the device its identity from the issuer, and write its credentials file.')
    .requiredOption(
      '--issuer <url>',
      'address of the issuer, https unless its host is loopback; or coap://… with --enrollment',
    )
    .requiredOption('--out <file>', 'credentials file to write, mode 0600')
    .option('--claim-code-file <file>', "file that holds the claim code; '-' is standard input")
    .option('--enrollment <id>', 'enrollment by a group key')
    .option('--registration-id <id>', 'with --enrollment: what the device is called there')
    .option('--device-key-file <file>', 'with --enrollment: file of the key derived for it, base64')
    .option('--group-key-file <file>', 'with --enrollment: file of the group key instead, base64')
    .option('--device <name=value>', 'what it says of itself, as serial=A1; may be given again', collect)
    .option('--own-key', 'make a key pair here; its private half goes nowhere')
    .option('--broker <url>', 'broker written into the file')
    .option('--wait', 'wait for approval, and while the issuer is away')
    .addHelpText(
      'after',
      `
Until the device is in, OUT.enrolling stands beside the file: with it the device is the same one after a crash. A file
that is there already is left as it is, with exit code 2.

Exit codes: 0 enrolled, 1 refused, waiting for approval or the issuer is away, 2 bad usage.

Examples:
  fleetgate-agent enroll --issuer https://issuer.example --claim-code-file code --device serial=A1 --out device.json
  fleetgate-agent enroll --issuer https://issuer.example --enrollment 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f \\
      --registration-id A1 --device-key-file key --own-key --wait --out device.json`,
    )
    .action((flags: EnrollFlags) => enroll(flags));
}

function addToken(program: Command, traced: Traced): void {
  deviceCommand(program, 'token', 'print one access token')
    .description('Ask the issuer for one access token and print it.')
    .addOption(formatOption('text (the token alone) or json'))
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent token --credentials device.json
  mosquitto_pub -i sensor-1 -u sensor-1 -P "$(fleetgate-agent token --credentials sensor-1.json)" \\
      -t devices/sensor-1/telemetry/t -m 21.5`,
    )
    .action((flags: TokenFlags) => printToken(traced(flags)));
}

function addRun(program: Command, traced: Traced): void {
  withBroker(
    deviceCommand(program, 'run', 'keep a fresh token, for a file, a socket, a command or an MQTT session'),
  )
    .description(
      'Keep a fresh token: for a file, a Unix socket, a command, an MQTT session, or several. Runs until SIGTERM or SIGINT.',
    )
    .option('--sink-file <path>', 'write each token to this file, atomically, mode 0600, without a newline')
    .option(
      '--sink-socket <path>',
      'tell each who connects to this Unix socket, 0600, each token, a line each',
    )
    .option('--sink-exec <command>', 'run this in a shell for each token, which is on its standard input')
    .option(
      '--sink-mosquitto <path>',
      'write an option file for mosquitto_pub -o with each token, atomically, mode 0600',
    )
    .option('--mqtt', 'hold the MQTT session of the device')
    .option('--bridge', 'with --mqtt: publish the lines of JSON on standard input; end when it ends')
    .option('--queue <file>', 'with --bridge: keep messages of QoS 1 and 2 in this file until delivered')
    .addOption(
      new Option(
        '--queue-drop <which>',
        'which is given up when the queue is full (default: newest)',
      ).choices(['newest', 'oldest']),
    )
    .option(
      '--health <host:port>',
      'serve /livez, /readyz and /metrics over HTTP (default: off)',
      parseHostAndPort,
    )
    .option('--once', 'serve --sink-file, --sink-mosquitto and --sink-exec once and end')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent run --credentials device.json --sink-file /run/device/token
  fleetgate-agent run --credentials device.json --sink-exec 'install -m 600 /dev/stdin /run/d/token && systemctl reload d'
  fleetgate-agent run --credentials device.json --sink-mosquitto /run/d/mosquitto_pub    # for mosquitto_pub -o
  fleetgate-agent run --credentials device.json --mqtt --health 127.0.0.1:9090
  sensor | fleetgate-agent run --credentials device.json --mqtt --bridge --queue queue --token-cache token
  fleetgate-agent run --credentials device.json --sink-file token --once      # for cron

SIGHUP reads the credentials file again and tries what is new in it, SIGUSR1 asks for a token now. The file is also read
again when it changes and when the issuer refuses: a secret that was rotated is picked up, and the old one used until
the new one is good.

A line for --bridge: {"topic":"devices/d1/t","payload":"21.5","qos":1,"retain":false,"id":7}, or "payload_base64", or
{"subscribe":"devices/d1/commands/#","qos":1}. Lines back: messages as 'subscribe --format json' prints them,
{"id":7,"ok":true} and {"line":1,"id":7,"error":"broker_refused"}.

With --token-cache a restart while the issuer is away goes on with the token there is.

A token is replaced between 70 % and 80 % of its lifetime; while the issuer is away the one that is still valid
stays in use. /livez answers 200 always, /readyz 200 while everything asked for has a valid token, else 503 with the
reason. A credential the issuer refuses twice is dead: it is tried rarely, at last once an hour, and at once when the
file changes.`,
    )
    .action((flags: RunFlags) => run(traced(flags)));
}

function addPublish(program: Command, traced: Traced): void {
  withBroker(deviceCommand(program, 'publish', 'publish one message'))
    .description('Publish one message, from --message, --file or standard input, and end.')
    .argument('<topic>', 'topic name')
    .option('-m, --message <text>', 'the message')
    .option('-f, --file <file>', "file that holds the message; '-' is standard input")
    .addOption(qosOption())
    .option('--retain', 'the broker keeps it for those who subscribe later')
    .option('--timeout-seconds <n>', 'give up after this time', parseCount, 30)
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent publish --credentials device.json devices/d1/telemetry/t -m 21.5 --qos 1
  fleetgate-agent publish --credentials device.json devices/d1/photo -f photo.jpg --qos 1 --retain
  fleetgate-agent publish --credentials device.json --token-cache token.json devices/d1/t -m 21.5   # from cron

With QoS 0 it ends when the message is written: a broker that refuses it is noticed with --qos 1 only.
${sameClientIdNote}`,
    )
    .action((topic: string, flags: PublishFlags) => publish(topic, traced(flags)));
}

function addSubscribe(program: Command, traced: Traced): void {
  withBroker(deviceCommand(program, 'subscribe', 'print messages'))
    .description('Print the messages of one or more topic filters, one line each, until told to stop.')
    .argument('<topic...>', 'topic filters')
    .addOption(qosOption())
    .option('--count <n>', 'end after this many messages', parseCount)
    .option(
      '--timeout-seconds <n>',
      'end after this time; with --count, exit code 1 when it was not reached',
      parseCount,
    )
    .addOption(formatOption('text (topic and payload) or json (one object a line)'))
    .addHelpText(
      'after',
      `
Examples:
  fleetgate-agent subscribe --credentials device.json 'devices/d1/commands/#'
  fleetgate-agent subscribe --credentials device.json devices/d1/config --count 1 --timeout-seconds 10 --format json

${sameClientIdNote}`,
    )
    .action((filters: string[], flags: SubscribeFlags) => subscribe(filters, traced(flags)));
}

function addCompletion(program: Command): void {
  program
    .command('completion')
    .summary('print a completion script for a shell')
    .description('Print a script that completes commands, options and files in a shell.')
    .addArgument(new Argument('<shell>', 'the shell').choices(completionShells))
    .addHelpText(
      'after',
      `
Examples:
  source <(fleetgate-agent completion bash)
  fleetgate-agent completion zsh > "\${fpath[1]}/_fleetgate-agent"
  fleetgate-agent completion fish > ~/.config/fish/completions/fleetgate-agent.fish`,
    )
    .action((shell: CompletionShell) => {
      process.stdout.write(completionScript(shell, commandShape(program)));
    });
}

const usageCodes = [
  'credentials_invalid',
  'not_supported',
  'topic_malformed',
  'filter_malformed',
  'config_invalid',
];

function isUsageError(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof FleetgateError && usageCodes.includes(error.code));
}

// The message of an expected error, the stack of one that nobody expected. A file system error is expected.
function describeError(error: unknown): string {
  if (error instanceof FleetgateError || error instanceof UsageError)
    return `fleetgate-agent: ${error.message}`;
  if (!(error instanceof Error)) return 'fleetgate-agent: unexpected error';
  if ('syscall' in error) return `fleetgate-agent: ${error.message}`;
  return `fleetgate-agent: unexpected error: ${error.stack ?? error.message}`;
}
