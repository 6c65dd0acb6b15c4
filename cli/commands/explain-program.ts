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
      'Say when a code comes and what to do: of an error, a log line, a metric, the audit trail or a CONNACK.',
    )
    .argument('[code]', 'the code; default: all of them')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate explain no_rule
  fleetgate explain 5                                what the broker answered to a CONNECT
  fleetgate explain --format json | jq -r '.[] | select(.kind == "refusal") | .code'`,
    )
    .action((code: string | undefined, { format }: { format: Format }) => {
      process.stdout.write(code === undefined ? formatAll(format) : formatOneCode(findCode(code), format));
    });
}

/** Of MQTT 3.1.1 §3.2.2.3, as this broker means them; what was at fault is in its log. */
const connackCodes = [
  'accepted',
  'speak MQTT 3.1.1',
  'that client id is not yours: it must be the one of the token',
  'come back later: limits, back-off, or keys that are away',
  'get a new token: there was none, or it is malformed, expired or revoked',
  'this is not allowed: user name, will, or a client in quarantine',
];

/** @throws UsageError when there is no such code */
function findCode(code: string): Explained {
  const found = explained.find((one) => one.code === code);
  if (found !== undefined) return found;
  const connack = connackCodes[/^[0-5]$/.test(code) ? Number(code) : -1];
  if (connack !== undefined) {
    const text = `${connack}; the broker's log has a line 'refused' with the reason`;
    return { code, kind: 'connack', text: code === '0' ? connack : text };
  }
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
