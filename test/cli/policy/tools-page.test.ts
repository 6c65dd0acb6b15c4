import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findingCodes } from '../../../cli/policy/finding.ts';
import { fleetgateCommand, runCommand } from '../../support/fleetgate-process.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-policy-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

for (const [, name = '', body = ''] of page.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)) {
  writeFileSync(join(folder, name), body);
}

/** Each command of the page with what it prints. */
const commands = Array.from(page.matchAll(/^```console\n([\s\S]*?)^```$/gm), ([, body = '']) => body)
  .flatMap((body) => body.split(/^\$ /m).slice(1))
  .map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)] as const);

describe('what docs/policy.md says a command prints it prints', () => {
  test.each(commands)('%s', async (command, printed) => {
    const node = [process.execPath, ...fleetgateCommand].map((word) => `'${word}'`).join(' ');
    const script = `cd '${folder}' && fleetgate() { ${node} "$@"; }; ${command}`;
    const { stdout } = await runCommand('sh', ['-c', script]);
    expect(stdout).toBe(printed);
  });
});

test('there are commands of each tool', () => {
  const tools = new Set(commands.map(([command]) => command.split(' ')[2]));
  expect(Array.from(tools).sort()).toEqual(['diff', 'lint', 'matrix', 'test']);
});

test('the page has each code of a finding and no other', () => {
  const section = page.split(/^### /m).find((text) => text.startsWith('`policy lint`')) ?? '';
  const codes = Array.from(section.matchAll(/^\| `(\w+)` \|/gm), ([, code]) => code);
  expect(codes).toEqual([...findingCodes]);
});
