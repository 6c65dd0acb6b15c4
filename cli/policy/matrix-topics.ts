import type { Policy } from '@fleetgate/broker/policy';
import { isTopicFilter, MAX_TOPIC_BYTES, overlaps } from '@fleetgate/shared';
import { directFilters } from './named-words.ts';
import { shapeScope } from './principals.ts';
import { meet } from './region.ts';
import type { RegisteredClient } from './registered-token.ts';
import type { Subject } from './subject.ts';

const placeholderPattern = /\{([^{}]*)\}/g;

/** Whether it is a topic or a filter, in which placeholders may stand. */
export const isMatrixTopic = (text: string) => isTopicFilter(text.replace(placeholderPattern, 'x'));

/** Of a topic that the console is asked about, with its placeholders; as of a filter in a policy. */
export const MAX_TOPIC_LENGTH = 1024;

/** Topics that are remembered while they are looked for: more than have a column are counted, not shown. */
const MAX_FOUND = 10_000;

/**
 * A topic for each filter that the policy and direct scopes write, and for where a deny meets a rule: a level for each
 * wildcard, placeholders as they are.
 */
export async function writtenTopics(
  policy: Policy,
  clients: AsyncIterable<RegisteredClient>,
): Promise<string[]> {
  const ofPolicy = new Set(rulesAndMeetings(policy).map(exampleOf));
  const ofScopes = new Set<string>();
  const seen = new Set<string>();
  for await (const client of clients) {
    if (!client.scope.includes('mqtt:')) continue;
    const scope = shapeScope(client);
    if (seen.has(scope) || seen.size > MAX_FOUND) continue;
    seen.add(scope);
    for (const topic of directFilters(scope).map(exampleOf)) if (!ofPolicy.has(topic)) ofScopes.add(topic);
  }
  return [...Array.from(ofPolicy).sort(), ...Array.from(ofScopes).sort()];
}

function rulesAndMeetings({ scopes, denyPublish, denySubscribe }: Policy): string[] {
  const written = (rules: readonly { readonly rule: { readonly written: string } }[]) =>
    Array.from(new Set(rules.map(({ rule }) => rule.written)));
  const all = Array.from(scopes.values());
  return [
    [written(all.flatMap(({ publish }) => publish)), written(denyPublish)] as const,
    [written(all.flatMap(({ subscribe }) => subscribe)), written(denySubscribe)] as const,
  ].flatMap(([rules, denies]) => [
    ...rules,
    ...rules.flatMap((rule) => denies.filter((deny) => overlaps(rule, deny)).map((deny) => meet(rule, deny))),
  ]);
}

function exampleOf(filter: string): string {
  return filter
    .split('/')
    .map((level) => (level === '+' || level === '#' ? 'x' : level))
    .join('/');
}

/** Unset where the client has no value for a placeholder, or the topic would be too long: it has no such topic. */
export function ownTopic(written: string, { clientId, group, claims }: Subject): string | undefined {
  let isWhole = true;
  const topic = written.replace(placeholderPattern, (_hole, name: string) => {
    const value =
      name === 'client_id' ? clientId : name === 'group' ? group : claims[name.slice('claim:'.length)];
    isWhole &&= typeof value === 'string';
    return String(value);
  });
  return isWhole && topic.length <= MAX_TOPIC_BYTES ? topic : undefined;
}
