import type { Store } from './redis.ts';

/** Why this Redis may lose what it has acknowledged, each in a few words; empty when it does not by its settings. */
export async function durabilityProblems(store: Store): Promise<string[]> {
  const [persistence, memory] = await Promise.all([store.info('persistence'), store.info('memory')]);
  const problems: string[] = [];
  if (/^aof_enabled:0/m.test(persistence)) problems.push('appendonly is no');
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
  const isLimited = !/^maxmemory:0\b/m.test(memory);
  if (isLimited && policy !== undefined && policy !== 'noeviction') {
    problems.push(`maxmemory-policy is ${policy}`);
  }
  return problems;
}
