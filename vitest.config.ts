import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { isPostgresMissing } from './bench/postgres.ts';
import { isRedisMissing } from './bench/redis.ts';

// Sources, never dist: a stale dist would hide a mistake. Only the ssr conditions do it in vitest.
const ssr = { resolve: { conditions: ['@fleetgate/source'] } };

// What is about files of SQLite, apps, which have such, or the acts of one registry alone.
const ofFiles = [
  'test/issuer/{registry-sqlite,database-faults,backup,apps,group-commit,secret-registry,revocations.model}.test.ts',
];

// What holds to a time, or has thousands of devices: each has the machine to itself.
const alone = [
  `test/e2e/{${[
    'canary',
    'cluster',
    'cluster-faults',
    'console',
    'fleet-provision',
    'fleet-quarantine',
    'key-rotation',
    'kill-rounds',
    'many-sessions',
    'postgres-issuers',
    'quarantine',
    'rabbitmq',
    'remote-feed',
    'renewal',
    'revocation',
    'revocation-across',
    'rotation-campaign',
  ].join(',')}}.test.ts`,
];

/** `groupOrder`: when they run, among the projects. */
const endToEnd = (
  name: string,
  groupOrder: number,
  files: { include: string[]; exclude?: string[]; fileParallelism?: boolean },
) => ({ ssr, test: { name, sequence: { groupOrder }, testTimeout: 60_000, hookTimeout: 60_000, ...files } });

// What is about the host's own persistence, or about no broker.
const ofMemory: string[] = [];

// Some thousand processes are started, from the sources: what each would strip and compile anew is kept between them.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules', '.cache', 'compile');

// For what several tests of a file share: a worker is ended without a word, and could not remove it.
const scratch = mkdtempSync(join(tmpdir(), 'fleetgate-tests-'));
process.env['FLEETGATE_TESTS_SCRATCH'] = scratch;
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

export default defineConfig({
  test: {
    // All cores: the default leaves one to the runner, which has nothing to do while they work.
    maxWorkers: '100%',
    reporters: ['default', './test/support/summary-reporter.ts'],
    projects: [
      {
        ssr,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/e2e/**',
            'test/broker/cluster/**',
            'test/issuer/{registry-postgres,transfer-postgres,postgres-faults}.test.ts',
            'test/attack/postgres-*.test.ts',
          ],
          testTimeout: 20_000,
        },
      },
      ...(isPostgresMissing
        ? []
        : [
            {
              ssr,
              test: {
                // The issuer's tests once more, with each registry in PostgreSQL instead of a file.
                name: 'postgres',
                include: ['test/issuer/**/*.test.ts', 'test/attack/postgres-*.test.ts'],
                exclude: ofFiles,
                globalSetup: './test/support/postgres-setup.ts',
                testTimeout: 20_000,
              },
            },
          ]),
      ...(isRedisMissing
        ? []
        : [
            {
              ssr,
              test: {
                // The broker's tests once more, with each broker's sessions in Redis instead of its own memory, and those of
                // brokers that share one.
                name: 'redis',
                include: ['test/broker/*.test.ts', 'test/broker/cluster/*.test.ts'],
                exclude: ofMemory,
                globalSetup: './test/support/redis-setup.ts',
                testTimeout: 20_000,
              },
            },
          ]),
      endToEnd('e2e', 1, { include: ['test/e2e/**/*.test.ts'], exclude: alone }),
      endToEnd('e2e-alone', 2, { include: alone, fileParallelism: false }),
    ],
  },
});
