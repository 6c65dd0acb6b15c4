import { defineConfig } from 'vitest/config';
import { isPostgresMissing } from './bench/postgres.ts';

// Sources, never dist: a stale dist would hide a mistake. Only the ssr conditions do it in vitest.
const ssr = { resolve: { conditions: ['@fleetgate/source'] } };

// What is about files of SQLite, apps, which have such, or the acts of one registry alone.
const ofFiles = [
  'test/issuer/{registry-sqlite,database-faults,backup,apps,group-commit,secret-registry,revocations.model}.test.ts',
  // Look into the file beside the issuer, and have no way yet to look into PostgreSQL.
  'test/issuer/{api-keys,audit,audit-chain,client-changes,coap,introspect-token,metrics,openapi}.test.ts',
  'test/issuer/{private-key-jwt,request-log,request-rate,revocation-feed,revocations,revoke-token}.test.ts',
  'test/issuer/{secrets,server,supertokens,supertokens-sdk}.test.ts',
  'test/issuer/fleet/enrollment.test.ts',
  'test/issuer/keys/{key-routes,signing-keys}.test.ts',
];

export default defineConfig({
  test: {
    reporters: ['default', './test/support/summary-reporter.ts'],
    projects: [
      {
        ssr,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/issuer/{registry,transfer}-postgres.test.ts'],
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
                include: ['test/issuer/**/*.test.ts'],
                exclude: ofFiles,
                globalSetup: './test/support/postgres-setup.ts',
                testTimeout: 20_000,
              },
            },
          ]),
      {
        ssr,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
