#!/usr/bin/env node
// For containers: exit 0 when the process of the data directory is ready, else 1. It has no key and needs none.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const directory = process.env.FLEETGATE_DATA_DIR ?? './fleetgate-data';
try {
  const { admin } = JSON.parse(readFileSync(join(directory, 'runtime.json'), 'utf8'));
  const answer = await fetch(`${admin}/readyz`, { signal: AbortSignal.timeout(4_000) });
  process.stdout.write(`${await answer.text()}\n`);
  process.exitCode = answer.ok ? 0 : 1;
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : 'not running'}\n`);
  process.exitCode = 1;
}
