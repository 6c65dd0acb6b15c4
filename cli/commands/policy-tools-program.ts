import type { Policy } from '@fleetgate/broker/policy';
import { type Command, Option } from 'commander';
import { EXIT_FAILED, EXIT_USAGE, UsageError } from '../exit.ts';
import { type Format, formatJson, formatRows, type RowFormat, toRow } from '../output.ts';
import {
  type DifferenceReport,
  differenceOfClients,
  differenceOfTokens,
} from '../policy/difference-report.ts';
import { type PlacedExpectation, readExpectations } from '../policy/expectations.ts';
import { lintPolicy } from '../policy/lint.ts';
import { formatResults, testPolicy } from '../policy/policy-test.ts';
import { principalsOf } from '../policy/principals.ts';
import type { RegisteredClient } from '../policy/registered-token.ts';
import { clientsById } from '../policy/registry-source.ts';
import { connect } from './connection.ts';
import { formatOption, rowFormatOption } from './format-option.ts';
import { loadPolicy } from './policy.ts';
import { policyInForce } from './policy-in-force.ts';
import {
  clientsOf,
  type RegistryFlags,
  tokenClaimsOf,
  withClients,
  withRegistry,
} from './registry-option.ts';

interface LintFlags extends RegistryFlags {
  strict?: boolean;
  format: RowFormat;
}

/** `fleetgate policy lint|diff|test`. */
export function addPolicyTools(policy: Command): void {
  addLint(policy);
  addDiff(policy);
  addTest(policy);
}

function addLint(policy: Command): void {
  withRegistry(policy.command('lint'))
    .summary('find what is hardly meant')
    .description('Find what is hardly meant in a policy and in how clients are registered.')
    .option('--strict', 'exit 1 for warnings too')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Finds scopes that reach everywhere, rules nobody can use, denies that refuse nobody anything, topics that two devices
may write, rules without {client_id} in a scope of devices, scopes the policy does not define.

Exit codes: 0 nothing that is an error, 1 an error, 2 the policy or an option is wrong.

Examples:
  fleetgate policy lint
  fleetgate fleet export > fleet.jsonl && fleetgate policy lint --policy new.yaml --clients fleet.jsonl --strict`,
    )
    .action(async (flags: LintFlags) => {
      const loaded = loadPolicy(flags.policy ?? policyInForce(flags));
      const findings = lintPolicy(
        loaded,
        await principalsOf([loaded], clientsOf(flags), { tokenClaims: tokenClaimsOf(flags) }),
      );
      if (flags.format === 'json') process.stdout.write(formatJson(findings));
      else if (flags.format === 'csv') {
        const columns = ['severity', 'code', 'where', 'words', 'fix', 'clients'];
        process.stdout.write(formatRows('csv', findings.map(toRow), { table: columns, csv: columns }));
      } else {
        for (const { severity, code, where, words, fix, clients } of findings) {
          const named = clients.length === 0 ? '' : ` (as ${clients.join(', ')})`;
          process.stdout.write(`${where}: ${severity} ${code}: ${words}${named}; ${fix}\n`);
        }
        if (findings.length === 0) process.stderr.write('nothing found\n');
      }
      const isFailed = findings.some(({ severity }) => flags.strict || severity === 'error');
      if (isFailed) process.exitCode = EXIT_FAILED;
    });
}

interface DiffFlags extends RegistryFlags {
  by: 'scope' | 'client' | 'group';
  format: RowFormat;
}

function addDiff(policy: Command): void {
  withClients(policy.command('diff <old-file> <new-file>'))
    .summary('say who gains and loses what')
    .description(
      'Say who gains and loses what by a new policy, decided as the broker decides and not by the text.',
    )
    .addOption(
      new Option('--by <what>', 'whose changes: of tokens by their scopes, or of registered clients')
        .choices(['scope', 'client', 'group'])
        .default('scope'),
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
FILTER and EXCEPT say where: topics that the one matches and none of the others. ONLY says which QoS, retain and sizes it
is about, where it is not all, or how a rate changes. EXAMPLES are some of the topics; a level that no filter names is x.

By scope a token is looked at for each scope of a policy, also with scopes that lift denies and with values that filters
name. By client or group the clients of the registry or of --clients; one stands for all that are registered alike.

Exit codes: 0 nothing changes, 1 something does, 2 a policy cannot be read or not be looked at whole.

Examples:
  fleetgate policy diff policy.yaml new.yaml
  fleetgate policy diff policy.yaml new.yaml --by group --clients fleet.jsonl`,
    )
    .action(async (oldFile: string, newFile: string, flags: DiffFlags) => {
      const { changes, incomplete } = await difference(loadPolicy(oldFile), loadPolicy(newFile), flags);
      const columns = ['subject', 'clients', 'change', 'action', 'filter', 'except', 'only', 'examples'];
      const table = columns.filter((column) => column !== 'clients' || flags.by !== 'scope');
      if (flags.format === 'json') process.stdout.write(formatJson({ changes, incomplete }));
      else if (changes.length > 0 || flags.format === 'csv') {
        process.stdout.write(formatRows(flags.format, changes.map(toRow), { table, csv: columns }));
      } else if (incomplete.length === 0) process.stderr.write('nothing changes\n');
      for (const what of incomplete) process.stderr.write(`not looked at whole: ${what}\n`);
      if (incomplete.length > 0) process.exitCode = EXIT_USAGE;
      else if (changes.length > 0) process.exitCode = EXIT_FAILED;
    });
}

async function difference(before: Policy, after: Policy, flags: DiffFlags): Promise<DifferenceReport> {
  const { by } = flags;
  if (by === 'scope') {
    const useless = (['clients', 'selector', 'tokenClaim'] as const).find(
      (name) => flags[name] !== undefined,
    );
    if (useless !== undefined)
      throw new UsageError('--clients, --selector and --token-claim need --by client or --by group');
    return differenceOfTokens(before, after);
  }
  const options = { tokenClaims: tokenClaimsOf(flags), tellsGroups: by === 'group' };
  return differenceOfClients(
    before,
    after,
    await principalsOf([before, after], clientsOf(flags), options),
    by,
  );
}

interface TestFlags extends RegistryFlags {
  format: Format;
}

function addTest(policy: Command): void {
  withRegistry(policy.command('test <file>'))
    .summary('check a policy against expectations')
    .description('Check that a policy decides as a file of expectations says; for CI.')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
The file is a list, YAML:

  - { client: a, scopes: [ telemetry.write ], action: publish, topic: devices/a/telemetry/t, expect: allow }
  - { client: a, scopes: [ telemetry.write ], action: publish, topic: devices/b/x, expect: deny, reason: no_rule }
  - { group: plant-7, action: subscribe, topic: 'devices/{client_id}/commands/#', expect: allow }

action is publish, subscribe or receive; beside it qos, and of a publish retain and bytes. With scopes it is about a
token, which may have client, group and claims. Without, about each registered client with that client id, group or
labels. expect is allow or deny, reason the code of a refusal.

Exit codes: 0 all are as expected, 1 some are not, 2 a file or an option is wrong.

Example:
  fleetgate policy test expectations.yaml --policy policy.yaml`,
    )
    .action(async (file: string, flags: TestFlags) => {
      const loaded = loadPolicy(flags.policy ?? policyInForce(flags));
      const expectations = readExpectations(file);
      // Without clients to look for, no registry is asked.
      const clients = () =>
        expectations.every(isNamed) ? namedClients(expectations, flags) : clientsOf(flags)();
      const tests = await testPolicy(loaded, expectations, clients, tokenClaimsOf(flags));
      const failed = tests.filter(({ passed }) => !passed).length;
      const summary = { passed: tests.length - failed, failed };
      process.stdout.write(
        flags.format === 'json' ? formatJson({ ...summary, tests }) : formatResults(tests),
      );
      if (failed > 0) process.exitCode = EXIT_FAILED;
    });
}

const isNamed = ({ client, scopes }: PlacedExpectation) => client !== undefined || scopes !== undefined;

/** Those that expectations name, one by one: a registry of a million need not be read for a few. */
async function* namedClients(
  expectations: readonly PlacedExpectation[],
  flags: RegistryFlags,
): AsyncGenerator<RegisteredClient> {
  if (flags.clients !== undefined || flags.selector !== undefined) return yield* clientsOf(flags)();
  const ids = expectations.flatMap(({ client, scopes }) => (scopes === undefined ? (client ?? []) : []));
  yield* clientsById((await connect(flags)).admin, new Set(ids));
}
