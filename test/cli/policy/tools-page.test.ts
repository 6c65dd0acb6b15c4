import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findingCodes } from '../../../cli/policy/finding.ts';
import { pageCommands, runPageCommand, writePageFiles } from '../../support/page-commands.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-policy-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

writePageFiles(page, folder);
const commands = pageCommands(page);

describe('what docs/policy.md says a command prints it prints', () => {
  test.each(commands)('%s', async (command, printed) => {
    const { stdout } = await runPageCommand(command, folder);
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
