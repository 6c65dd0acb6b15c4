import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { pageCommands, runPageCommand, writePageFiles } from '../../support/page-commands.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/engines.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-engines-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

writePageFiles(page, folder);
const commands = pageCommands(page);

describe('what docs/engines.md says a command prints it prints', () => {
  test.each(commands)('%s', async (command, printed) => {
    // Notes are on stdout without a client, and on stderr with one. Files of the configuration are named in full.
    const { code, stdout } = await runPageCommand(command, folder);
    expect([code, stdout.replaceAll(`${folder}/`, '')]).toEqual([0, printed]);
  });

  test('for both engines', () => {
    expect(new Set(commands.map(([command]) => command.split(' ')[4]))).toEqual(
      new Set(['rabbitmq', 'emqx']),
    );
  });
});
