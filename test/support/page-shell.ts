import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Ended, fleetgateCommand, type RunningFleetgate, runCommand } from './fleetgate-process.ts';

const root = resolve(import.meta.dirname, '../..');

/** The scripts of a page in their order: its blocks of `sh`. */
export function pageScripts(page: string): string[] {
  return Array.from(page.matchAll(/^```sh\n([\s\S]*?)^```$/gm), ([, script]) => script as string);
}

/**
 * Runs what a page has as its reader would, in `folder`: `fleetgate`, `fleetgate-agent` and this Node are in PATH, and the
 * variables that the pages name lead to `running`, whose data are in `data`.
 */
export function pageShell(folder: string, running: RunningFleetgate, data: string) {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const commands = {
    fleetgate: [process.execPath, ...fleetgateCommand],
    'fleetgate-agent': [process.execPath, '--conditions=@fleetgate/source', join(root, 'agent/main.ts')],
    node: [process.execPath, '--conditions=@fleetgate/source'],
  };
  for (const [name, command] of Object.entries(commands)) {
    const words = command.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${words} "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const env = {
    PATH: `${bin}:${process.env['PATH']}`,
    FLEETGATE_DATA_DIR: data,
    ISSUER: running.ready['issuer'] as string,
    BROKER: running.ready['mqtt'] as string,
    ADMIN_URL: running.ready['admin'] as string,
    API_KEY_FILE: join(data, 'admin.key'),
  };
  return (script: string): Promise<Ended> =>
    runCommand('bash', ['-euo', 'pipefail', '-c', `cd '${folder}'\n${script}`], { env, timeoutMs: 120_000 });
}
