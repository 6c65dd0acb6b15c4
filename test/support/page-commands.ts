import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ended, fleetgateCommand, runCommand } from './fleetgate-process.ts';

/** The files that a page shows: blocks whose first line has their name. */
export function pageFiles(page: string): ReadonlyMap<string, string> {
  const blocks = page.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm);
  return new Map(Array.from(blocks, ([, name = '', body = '']) => [name, body]));
}

export function writePageFiles(page: string, folder: string): void {
  for (const [name, body] of pageFiles(page)) writeFileSync(join(folder, name), body);
}

/** Each command that a page shows, with what it says is printed. */
export function pageCommands(page: string): (readonly [command: string, printed: string])[] {
  return Array.from(page.matchAll(/^```console\n([\s\S]*?)^```$/gm), ([, body = '']) => body)
    .flatMap((body) => body.split(/^\$ /m).slice(1))
    .map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)] as const);
}

/** Runs a command as a reader of the page would, in `folder`. */
export function runPageCommand(command: string, folder: string): Promise<Ended> {
  const node = [process.execPath, ...fleetgateCommand].map((word) => `'${word}'`).join(' ');
  return runCommand('sh', ['-c', `cd '${folder}' && fleetgate() { ${node} "$@"; }; ${command}`]);
}
