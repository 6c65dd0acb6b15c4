import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

/** A directory that is removed when the test run ends, for what outlives one test. */
export function scratchDirectory(name: string): string {
  return mkdtempSync(join(process.env['FLEETGATE_TESTS_SCRATCH'] as string, `${name}-`));
}
