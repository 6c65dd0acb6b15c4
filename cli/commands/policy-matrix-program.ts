import type { Policy } from '@fleetgate/broker/policy';
import { type Command, Option } from 'commander';
import { csvLine } from '../csv.ts';
import { UsageError } from '../exit.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatLines, type RowFormat } from '../output.ts';
import { type AccessMatrix, accessMatrix, MAX_TOPICS, matrixLines } from '../policy/access-matrix.ts';
import { matrixPage } from '../policy/matrix-html.ts';
import { formatMatrix, loadPolicy, matrixOf } from './policy.ts';
import { policyInForce } from './policy-in-force.ts';
import { clientsOf, collect, type RegistryFlags, tokenClaimsOf, withRegistry } from './registry-option.ts';

interface MatrixFlags extends RegistryFlags {
  by: 'scope' | 'client' | 'group';
  topic?: string[];
  clientId?: string;
  group?: string;
  claim: string[];
  format: RowFormat | 'html';
  out?: string;
}

/** `fleetgate policy matrix`. */
export function addPolicyMatrix(policy: Command): void {
  withRegistry(policy.command('matrix'))
    .summary('show what each scope gives, or who can publish and subscribe where')
    .description(
      'Show each rule of a policy, with the denies that touch it and an example; or, by client or group, who can publish and subscribe where, decided as the broker decides.',
    )
    .addOption(
      new Option('--by <what>', 'a row for each').choices(['scope', 'client', 'group']).default('scope'),
    )
    .option(
      '--topic <topic>',
      'by client or group: a column; may be given again (default: one for each rule and direct scope)',
      collect,
    )
    .option('--client-id <id>', 'by scope: value of {client_id}')
    .option('--group <group>', 'by scope: value of {group}')
    .option('--claim <name=value>', 'by scope: value of {claim:NAME}; may be given again', collect, [])
    .addOption(
      new Option('--format <format>', 'how; html by client or group')
        .choices(['table', 'json', 'csv', 'html'])
        .default('table'),
    )
    .option('--out <file>', 'write it to a new file instead of stdout')
    .addHelpText(
      'after',
      `
By scope: DENIES names each deny whose topics the filter meets: it covers all of the filter, or overlaps a part;
'unless' are the scopes that lift it. EXAMPLE is a topic the filter matches, OUTCOME what is decided of it. A rule whose
placeholders have no value has no example.

By client or group: P may publish there, S may subscribe to it and is delivered, R is delivered though it may not
subscribe to it alone, P3 three of the group. Placeholders in a topic are those of each client. The HTML is a page of its
own, a heat map.

Examples:
  fleetgate policy matrix --policy policy.yaml --client-id sensor-1
  fleetgate policy matrix --by client --selector group=plant-7 --topic devices/sensor-1/commands/reboot
  fleetgate policy matrix --by group --format html --out access.html`,
    )
    .action(async (flags: MatrixFlags) => {
      const file = flags.policy ?? policyInForce(flags);
      const text = await matrixText(loadPolicy(file), file, flags);
      if (flags.out === undefined) process.stdout.write(text);
      else await intoNewFile(flags.out, async () => ({ content: text, answer: undefined }));
    });
}

async function matrixText(policy: Policy, file: string, flags: MatrixFlags): Promise<string> {
  const { by, clientId, group, claim, format } = flags;
  if (by === 'scope') {
    const useless = (['topic', 'clients', 'selector'] as const).find((name) => flags[name] !== undefined);
    if (useless !== undefined) throw new UsageError(`--${useless} needs --by client or --by group`);
    if (format === 'html') throw new UsageError('--format html needs --by client or --by group');
    const matrix = matrixOf(policy, {
      claim,
      ...(clientId === undefined ? {} : { clientId }),
      ...(group === undefined ? {} : { group }),
    });
    return format === 'json' ? formatJson(matrix) : formatMatrix(matrix, format);
  }
  const topics = flags.topic;
  if (topics !== undefined && topics.length > MAX_TOPICS) {
    throw new UsageError(`--topic may be given ${MAX_TOPICS} times`);
  }
  const matrix = await accessMatrix(policy, clientsOf(flags), {
    by,
    topics,
    tokenClaims: tokenClaimsOf(flags),
  });
  if (matrix.leftOut > 0)
    process.stderr.write(`${matrix.leftOut} clients more have no row; use --selector\n`);
  if (matrix.topicsLeftOut > 0)
    process.stderr.write(`${matrix.topicsLeftOut} topics more have no column; use --topic\n`);
  return formatAccess(matrix, file, format);
}

function formatAccess(matrix: AccessMatrix, file: string, format: MatrixFlags['format']): string {
  if (format === 'json') return formatJson(matrix);
  if (format === 'html') return matrixPage(matrix, file);
  // Topics are no names of columns: one may be called as another column, and case counts.
  const lines = matrixLines(matrix);
  if (format === 'csv') return [['name', 'clients', ...matrix.topics], ...lines].map(csvLine).join('');
  return formatLines(['NAME', 'CLIENTS', ...matrix.topics], lines);
}
