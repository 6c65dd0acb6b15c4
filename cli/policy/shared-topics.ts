import { overlaps } from '@fleetgate/shared';
import { filterIndex } from './filter-index.ts';
import type { Finding, Judged } from './finding.ts';
import { type Judge, plainPublish } from './subject.ts';
import { witnesses } from './witnesses.ts';

/** Topics that two clients may write: one finding for each two ways of being registered. */
export function sharedTopics(judged: readonly Judged[]): Finding[] {
  const found = new Map<string, Finding>();
  const index = filterIndex<Judged>();
  for (const one of judged) {
    const met = new Set<Judged>();
    for (const { filter } of one.judge.grants.publish) {
      for (const other of index.meeting(filter)) met.add(other);
    }
    for (const other of met) noteShared(found, other, one);
    for (const { filter } of one.judge.grants.publish) index.add(filter, one);
  }
  return Array.from(found.values());
}

function noteShared(found: Map<string, Finding>, a: Judged, b: Judged): void {
  if (a.principal.clientId === b.principal.clientId) return;
  const scopes = Array.from(new Set([a.principal.scope, b.principal.scope])).sort();
  const key = scopes.join('\n');
  if (found.has(key)) return;
  const topic = sharedTopic(a.judge, b.judge);
  if (topic === undefined) return;
  const how = scopes.length === 1 ? 'alike' : 'differently';
  found.set(key, {
    code: 'shared_writable_topic',
    severity: 'warning',
    where: scopes.join(' and '),
    words: `clients that are registered ${how} may publish to one topic, as ${topic}`,
    fix: 'put {client_id} into the filter if each is to have its own',
    clients: [a.principal.clientId, b.principal.clientId],
  });
}

/** A topic that both may publish to. */
function sharedTopic(a: Judge, b: Judge): string | undefined {
  const meeting = a.grants.publish.flatMap((one) =>
    b.grants.publish
      .filter((other) => overlaps(one.filter, other.filter))
      .flatMap((other) => [one.filter, other.filter]),
  );
  const denies = [...a.grants.denyPublish, ...b.grants.denyPublish]
    .map(({ filter }) => filter)
    .filter((deny) => meeting.some((filter) => overlaps(deny, filter)));
  const filters = Array.from(new Set([...meeting, ...denies]));
  return witnesses(filters).find(({ topic }) => mayPublish(a, topic) && mayPublish(b, topic))?.topic;
}

const mayPublish = (judge: Judge, topic: string) => judge.decide(plainPublish(topic)).allowed;
