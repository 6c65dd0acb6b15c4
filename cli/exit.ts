import { FleetgateError } from '@fleetgate/shared';
import { onOneLine } from './output.ts';

/** Exit codes of the `fleetgate` command. */
export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_PARTLY_DONE = 3;

const usageCodes: ReadonlySet<string> = new Set([
  'config_invalid',
  'policy_invalid',
  'policy_untranslatable',
  'scope_malformed',
  'not_supported',
  'tls_file_invalid',
]);

/** A mistake in the command line, told in one line; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The exit code an error ends the command with: 2 for bad usage or configuration, 1 for all else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_USAGE;
  if (error instanceof FleetgateError && usageCodes.has(error.code)) return EXIT_USAGE;
  return EXIT_FAILED;
}

/**
 * What stderr says of an error: the message of an expected one, the stack of one that nobody expected. It may quote a row
 * of a file or an answer, whose control characters a terminal would obey.
 */
export function describeError(error: unknown): string {
  const lines = wordsOf(error).split('\n');
  return `fleetgate: ${lines.map(onOneLine).join('\n')}`;
}

function wordsOf(error: unknown): string {
  if (error instanceof UsageError || error instanceof FleetgateError) return error.message;
  return `unexpected error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
