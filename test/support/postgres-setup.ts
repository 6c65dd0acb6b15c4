import type { TestProject } from 'vitest/node';
import { startPostgres } from '../../bench/postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the tests keep registries in PostgreSQL: a URL without a schema. Unset: in files. */
    postgres: string | undefined;
  }
}

/** One server for all test files of the project. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres({ max_connections: '500' });
  project.provide('postgres', `postgres://fleetgate@127.0.0.1:${postgres.port}/postgres`);
  return () => postgres.stop();
}
