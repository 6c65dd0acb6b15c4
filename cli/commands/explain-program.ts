import { nearest } from '@fleetgate/shared';
import type { Command } from 'commander';
import { UsageError } from '../exit.ts';
import { codesByKind } from '../explained-codes.ts';
import { type Format, formatJson, formatRecord, formatTable } from '../output.ts';
import { formatOption } from './format-option.ts';

interface Explained {
  readonly code: string;
  readonly kind: string;
  readonly text: string;
}

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

/** Every code, without the marks of Markdown. */
export const explained: readonly Explained[] = Object.entries(codesByKind).flatMap(([kind, codes]) =>
  Object.entries(codes).map(([code, text]) => ({ code, kind, text: plain(text) })),
);

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

/** Without the marks of Markdown; a page that is linked by its path in the repository. */
function plain(markdown: string): string {
  return markdown.replace(/\[[^\]]+\]\(([^)]+)\)/g, 'docs/$1').replaceAll('`', '');
}
