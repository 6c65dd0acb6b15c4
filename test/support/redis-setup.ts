import type { TestProject } from 'vitest/node';
import { startRedis } from '../../bench/redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The Redis that the tests keep sessions in. Unset: in memory. */
    redis: string | undefined;
  }
}

/** One server for all test files of the project. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const redis = await startRedis({ appendfsync: 'no' });
  project.provide('redis', redis.url);
  return () => redis.stop();
}
