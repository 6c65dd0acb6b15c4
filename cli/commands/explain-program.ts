import { nearest } from '@fleetgate/shared';
import type { Command } from 'commander';
import { UsageError } from '../exit.ts';
import { type Explained, explained } from '../explained.ts';
import { type Format, formatJson, formatRecord, formatTable } from '../output.ts';
import { formatOption } from './format-option.ts';

/** `fleetgate explain [code]`. */
export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .summary('say what an error or reason code means')
    .description(
      'Say when a code comes and what to do: of an error, a log line, a metric or the audit trail.',
    )
    .argument('[code]', 'the code; default: all of them')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate explain no_rule
  fleetgate explain --format json | jq -r '.[] | select(.kind == "refusal") | .code'`,
    )
    .action((code: string | undefined, { format }: { format: Format }) => {
      process.stdout.write(code === undefined ? formatAll(format) : formatOneCode(findCode(code), format));
    });
}

/** @throws UsageError when there is no such code */
function findCode(code: string): Explained {
  const found = explained.find((one) => one.code === code);
  if (found !== undefined) return found;
  const near = nearest(
    code,
    explained.map((one) => one.code),
  );
  throw new UsageError(
    near === undefined
      ? `there is no code '${code}'; 'fleetgate explain' lists them`
      : `there is no code '${code}'; did you mean '${near}'?`,
  );
}

function formatOneCode(one: Explained, format: Format): string {
  return format === 'json' ? formatJson(one) : formatRecord({ ...one });
}

function formatAll(format: Format): string {
  if (format === 'json') return formatJson(explained);
  return formatTable(
    ['code', 'kind', 'text'],
    explained.map((one) => ({ ...one })),
  );
}
