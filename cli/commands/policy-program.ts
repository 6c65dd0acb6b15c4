import { formatExplanation, policyWarnings, type ScopeFormat } from '@fleetgate/broker/policy';
import { Argument, type Command, Option } from 'commander';
import { EXIT_FAILED, UsageError } from '../exit.ts';
import { type Format, formatJson } from '../output.ts';
import { neededWords, scopesNeeded } from '../policy/needed-scopes.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { formatOption } from './format-option.ts';
import { attemptOf, explainAttempt, loadPolicy, subjectClaims } from './policy.ts';
import { addPolicyCompile } from './policy-compile-program.ts';
import { policyInForce } from './policy-in-force.ts';
import { addPolicyMatrix } from './policy-matrix-program.ts';
import { addPolicyTools } from './policy-tools-program.ts';
import { explainedSubject } from './registered-subject.ts';
import { type SubjectFlags, withSubject } from './subject-option.ts';

interface ExplainFlags extends SubjectFlags, ConnectionOptions {
  policy?: string;
  scopeFormat: ScopeFormat;
  qos: string;
  retain?: boolean;
  bytes: string;
  format: Format;
}

/** `fleetgate policy check|explain|compile|matrix|lint|diff|test`. */
export function addPolicyCommands(program: Command): void {
  const policy = program
    .command('policy')
    .summary('check a topic policy, show it and explain what it decides')
    .description('Check a topic policy, show what its scopes give, and explain what it decides.')
    .addHelpText(
      'after',
      `
Examples:
  fleetgate policy check policy.yaml
  fleetgate policy matrix --client-id sensor-1
  fleetgate policy explain --client-id sensor-1 --scope telemetry.write publish devices/sensor-1/telemetry/t
  fleetgate policy matrix --by group --format html --out access.html
  fleetgate policy lint
  fleetgate policy compile --target rabbitmq
  fleetgate policy diff policy.yaml new.yaml
  fleetgate policy test expectations.yaml`,
    );

  policy
    .command('check [file]')
    .summary('check a policy file')
    .description(
      'Check a policy file; each problem is a line with file, line and column. What is valid and has no effect is a warning on stderr.',
    )
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)')
    .addHelpText(
      'after',
      '\nExit 0: the broker would take it, warnings or not. Exit 2: it would not.\n\nExample:\n  fleetgate policy check policy.yaml',
    )
    .action((file: string | undefined, flags: { config?: string; data?: string }) => {
      const path = file ?? policyInForce(flags);
      for (const { source = path, words } of policyWarnings(loadPolicy(path))) {
        process.stderr.write(`${source}: warning: ${words}\n`);
      }
      process.stdout.write(`${path}: valid\n`);
    });

  withConnection(withSubject(policy.command('explain')))
    .addArgument(new Argument('<action>', 'what is tried').choices(['publish', 'subscribe', 'receive']))
    .argument('<topic>', 'topic name, or topic filter of a subscribe')
    .summary('say which rule allows or refuses, and why')
    .description('Say which rule of a policy allows or refuses one attempt, and what the nearest miss was.')
    .option('--policy <file>', 'policy file (default: the one in force)')
    .addOption(
      new Option('--scope-format <format>', 'how the issuer of the token writes scopes')
        .choices(['named', 'aif'])
        .default('named'),
    )
    .addOption(new Option('--qos <qos>', 'quality of service').choices(['0', '1', '2']).default('0'))
    .option('--retain', 'a retained message')
    .option('--bytes <number>', 'payload size', '0')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
The action is publish, subscribe or receive. Exit 0: allowed. Exit 1: refused; the last line says which scopes would do.

Without --scope and --token-file a running issuer is asked what the client is registered for. Where none answers it is
a token without scopes, and stderr says so.

Examples:
  fleetgate policy explain --client-id a --scope telemetry.write publish devices/b/telemetry/t
  fleetgate policy explain --token-file token.jwt subscribe 'devices/#'`,
    )
    .action(async (action: string, topic: string, flags: ExplainFlags) => {
      const loaded = loadPolicy(flags.policy ?? policyInForce(flags));
      const asked = {
        action,
        topic,
        qos: wholeNumber('--qos', flags.qos),
        retain: flags.retain === true,
        bytes: wholeNumber('--bytes', flags.bytes),
      };
      const subject = { ...(await explainedSubject(loaded, flags)), scopeFormat: flags.scopeFormat };
      const explanation = explainAttempt(loaded, subject, asked);
      // What an issuer of AIF scopes puts into a token is no scope of the policy.
      const needed =
        explanation.decision.allowed || flags.scopeFormat === 'aif'
          ? undefined
          : scopesNeeded(loaded, subjectClaims(subject), attemptOf(asked));
      const lines = [formatExplanation(explanation), ...(needed === undefined ? [] : [neededWords(needed)])];
      process.stdout.write(
        flags.format === 'json' ? formatJson({ ...explanation, ...needed }) : `${lines.join('\n')}\n`,
      );
      if (!explanation.decision.allowed) process.exitCode = EXIT_FAILED;
    });

  addPolicyCompile(policy);
  addPolicyMatrix(policy);
  addPolicyTools(policy);
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`${option} takes a whole number, not '${text}'`);
  return Number(text);
}
