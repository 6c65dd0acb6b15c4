import {
  checkForEngine,
  compileGrants,
  type Engine,
  type EngineName,
  type EngineNote,
  engineClaim,
  formatEngineNote,
  type Policy,
  type RuleOption,
  ruleOptions,
  unappliedNotes,
} from '@fleetgate/broker/policy';
import { type Command, Option } from 'commander';
import { readConfig } from '../config/read.ts';
import { type ConfiguredTarget, engineOf } from '../config/token-targets.ts';
import { dataDirectory } from '../data-directory.ts';
import { EXIT_FAILED, UsageError } from '../exit.ts';
import { type Format, formatJson, onOneLine } from '../output.ts';
import { policyPath } from '../policy-file.ts';
import { formatOption } from './format-option.ts';
import { loadPolicy, subjectClaims } from './policy.ts';
import { type SubjectFlags, subjectOf, withSubject } from './subject-option.ts';

interface CompileFlags extends SubjectFlags {
  target: EngineName;
  audience?: string;
  policy?: string;
  config?: string;
  data?: string;
  vhost?: string;
  exchange?: string;
  scopePrefix?: string;
  claimName?: string;
  acceptNotEnforced?: RuleOption[];
  format: Format;
}

/** `fleetgate policy compile`. */
export function addPolicyCompile(policy: Command): void {
  withSubject(policy.command('compile'))
    .summary('say a policy to RabbitMQ or EMQX')
    .description(
      'Say what a policy gives a client in the claim that RabbitMQ or EMQX reads; without a client, check whether all of it can be said.',
    )
    .addOption(
      new Option('--target <engine>', 'whom it is said to')
        .choices(['rabbitmq', 'emqx'])
        .makeOptionMandatory(),
    )
    .option('--audience <name>', 'audience of the tokens; of rabbitmq its resource server id')
    .option('--policy <file>', 'policy file (default: that of the target in the configuration)')
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)')
    .option('--vhost <name>', 'virtual host of rabbitmq (default: /)')
    .option('--exchange <name>', 'exchange of its MQTT plugin (default: amq.topic)')
    .option('--scope-prefix <text>', 'what rabbitmq takes off scopes (default: the audience and a dot)')
    .option('--claim-name <name>', 'claim that is read (default: extra_scopes or acl)')
    .addOption(
      new Option(
        '--accept-not-enforced <option>',
        'an option of rules that may stand though nobody is held to it; may be given again',
      )
        .choices(ruleOptions)
        .argParser(collectOption),
    )
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
What is not given is as issuer.token_targets of the configuration has it for that target.

A note is a line: 'refused' a rule that cannot be said without allowing more, 'narrowed' one by which the engine allows
less than our broker, 'not_enforced' an option that nobody is held to. With a client notes are on stderr, and so is what
of its scopes grants nothing (in JSON 'unapplied'); the claim is on stdout, a scope or a rule on each line. Where a rule
of the policy is refused the issuer does not start, and so there is no claim.

Exit codes: 0 all can be said, 1 something is refused, 2 the policy or an option is wrong.

Examples:
  fleetgate policy compile --target rabbitmq --policy policy.yaml
  fleetgate policy compile --target emqx --client-id sensor-1 --scope "telemetry.write commands.read"`,
    )
    .action(async (flags: CompileFlags) => {
      const { engine, policyFile } = targetOf(flags);
      const compiled = await compile(engine, loadPolicy(policyFile), flags);
      const refused = compiled.notes.some(({ kind }) => kind === 'refused');
      if (flags.format === 'json') {
        process.stdout.write(formatJson({ target: engine.name, claim: engine.claim, ...compiled }));
      } else {
        const { value, notes, unapplied = [] } = compiled;
        const stream = value === undefined ? process.stdout : process.stderr;
        for (const note of notes) stream.write(`${onOneLine(formatEngineNote(note))}\n`);
        for (const note of unapplied) process.stderr.write(`${onOneLine(note)}\n`);
        for (const part of value ?? []) process.stdout.write(`${lineOf(part)}\n`);
        if (notes.length === 0 && value === undefined) {
          process.stderr.write(`all of it can be said to ${engine.name}\n`);
        }
      }
      if (refused) process.exitCode = EXIT_FAILED;
    });
}

interface Compiled {
  readonly value?: readonly unknown[];
  readonly notes: readonly EngineNote[];
  /** What of the client's scopes grants nothing, and why. */
  readonly unapplied?: readonly string[];
}

async function compile(engine: Engine, policy: Policy, flags: CompileFlags): Promise<Compiled> {
  const notes = checkForEngine(engine, policy);
  const isAboutClient = flags.clientId !== undefined || flags.tokenFile !== undefined;
  if (!isAboutClient) return { notes };
  const claims = subjectClaims(await subjectOf(flags));
  const unapplied = unappliedNotes(compileGrants(policy, claims));
  if (notes.some(({ kind }) => kind === 'refused')) return { notes, unapplied };
  const claim = engineClaim(engine, policy, claims);
  return 'refused' in claim ? { notes: claim.refused, unapplied } : { ...claim, unapplied };
}

/** The target that the flags name, and what the configuration says of it. */
function targetOf(flags: CompileFlags): { engine: Engine; policyFile: string } {
  const { config, dataPath } = readConfig(flags);
  const configured = config.issuer.token_targets.find(
    ({ target, audience }) =>
      target === flags.target && (flags.audience === undefined || audience === flags.audience),
  );
  const given = {
    vhost: flags.vhost,
    exchange: flags.exchange,
    scope_prefix: flags.scopePrefix,
    claim: flags.claimName,
    accept_not_enforced: flags.acceptNotEnforced,
  };
  const target: ConfiguredTarget = {
    target: flags.target,
    audience: flags.audience ?? flags.target,
    accept_not_enforced: [],
    ...configured,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
  const policyFile = flags.policy ?? target.policy_file ?? policyPath(config, dataDirectory(dataPath));
  return { engine: engineOf(target), policyFile };
}

const lineOf = (part: unknown) => (typeof part === 'string' ? part : JSON.stringify(part));

function collectOption(value: string, previous: RuleOption[] | undefined): RuleOption[] {
  const option = ruleOptions.find((one) => one === value);
  if (option === undefined) {
    throw new UsageError(`--accept-not-enforced takes ${ruleOptions.join(', ')}, not '${value}'`);
  }
  return [...(previous ?? []), option];
}
