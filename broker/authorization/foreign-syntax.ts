/**
 * The syntax other brokers have for what a token permits, recognised only to say what to write here. Nothing in this
 * file grants: a token that was made for another broker must not mean something here by likeness.
 */
import { directScopeToken, isTopicFilter } from '@fleetgate/shared';
import { parseAifScope } from './aif.ts';
import { isReservedTopic } from './reserved-topics.ts';

/** Suggestions one explanation lists: more would bury the rest of it. */
const MAX_SUGGESTIONS = 8;

type Action = 'publish' | 'subscribe';

/** What to write in place of a scope that is written for another broker, in words; `undefined` when it is not. */
export function foreignScopeWords(scope: string): string | undefined {
  return rabbitScopeWords(scope) ?? aifScopeWords(scope);
}

// <id>.<permission>:<vhost>/<resource>[/<routing key>], the id of the resource server in front or not. A vhost of `/` is %2F.
const rabbitScopePattern = /^(?:.*\.)?(read|write|configure):[^/]+\/[^/]+(?:\/([^/]+))?$/;
const rabbitTagPattern = /^(?:.*\.)?tag:(?:administrator|management|monitoring|policymaker|impersonator)$/;

function rabbitScopeWords(scope: string): string | undefined {
  const foreign = 'this is RabbitMQ scope syntax: it grants nothing here';
  if (rabbitTagPattern.test(scope)) return `${foreign}; leave it out: there is no management to permit`;
  // Without a routing key it holds for each.
  const [, permission, routingKey = '*'] = rabbitScopePattern.exec(scope) ?? [];
  if (permission === undefined) return undefined;
  if (permission === 'configure') {
    return `${foreign}; leave it out: there are no queues and exchanges to configure`;
  }
  const filter = filterOfRoutingKey(routingKey);
  return `${foreign}; ${suggestion(permission === 'write' ? 'publish' : 'subscribe', filter)}`;
}

/**
 * The nearest topic filter to a pattern for routing keys. RabbitMQ puts `.` for `/` and `*` for `+`; an asterisk that
 * is not percent-encoded stands for any characters, dots among them, so that only as a whole level has it a likeness.
 */
function filterOfRoutingKey(pattern: string): string | undefined {
  const levels = pattern.split('.');
  const filled = levels.map((level, index) => {
    if (level === '*') return index === levels.length - 1 ? '#' : '+';
    return level.includes('*') ? undefined : decodeLevel(level);
  });
  return filled.includes(undefined) ? undefined : filled.join('/');
}

function decodeLevel(level: string): string | undefined {
  try {
    return decodeURIComponent(level).replaceAll('/', '.').replaceAll('*', '+');
  } catch {
    return undefined;
  }
}

function aifScopeWords(scope: string): string | undefined {
  const entries = parseAifScope(scope);
  if (typeof entries === 'string' || entries.length === 0) return undefined;
  return 'this is an AIF scope (RFC 9431): it grants only where its issuer is trusted with the scope format aif';
}

/** Whether the value of the claim `acl` looks like that of EMQX: a list of rules, or a map of lists. */
export function isAclClaim(acl: unknown): acl is object {
  if (typeof acl !== 'object' || acl === null) return false;
  return Array.isArray(acl) || ['pub', 'sub', 'all'].some((key) => Object.hasOwn(acl, key));
}

/** What to write in place of such a claim, in words. */
export function aclClaimWords(acl: object): string {
  const rules: unknown[] = Array.isArray(acl) ? acl : rulesOfMap(acl as Record<string, unknown>);
  const suggestions = rules.slice(0, MAX_SUGGESTIONS).flatMap((rule) => suggestionsOf(rule));
  const shown = suggestions.slice(0, MAX_SUGGESTIONS);
  const isCut = rules.length > MAX_SUGGESTIONS || suggestions.length > shown.length;
  return [
    'this is EMQX syntax: it grants nothing here',
    ...new Set(shown),
    ...(isCut ? ['and so on'] : []),
  ].join('; ');
}

function rulesOfMap(map: Record<string, unknown>): unknown[] {
  const actions = { pub: 'publish', sub: 'subscribe', all: 'all' };
  return Object.entries(actions).flatMap(([key, action]) => {
    const topics = Object.hasOwn(map, key) ? map[key] : undefined;
    return Array.isArray(topics) ? topics.map((topic) => ({ permission: 'allow', action, topic })) : [];
  });
}

function suggestionsOf(rule: unknown): string[] {
  if (typeof rule !== 'object' || rule === null) return [];
  const { permission, action, topic, qos, retain } = rule as Record<string, unknown>;
  if (typeof topic !== 'string') return [];
  const actions = (['publish', 'subscribe'] as const).filter((one) => action === one || action === 'all');
  const isExact = topic.startsWith('eq ');
  const filter = withPlaceholders(isExact ? topic.slice('eq '.length) : topic);
  if (permission === 'deny') return actions.map((one) => denySuggestion(one, filter));
  if (permission !== 'allow') return [];
  return actions.map((one) =>
    suggestion(one, filter, [
      ...(Array.isArray(qos) && !qos.includes(2) ? [`max_qos: ${qos.includes(1) ? 1 : 0}`] : []),
      ...(one === 'publish' && retain === false ? ['retain: false'] : []),
      ...(one === 'subscribe' && isExact ? ['broader: exact'] : []),
    ]),
  );
}

/** Ours for theirs. A user name is the client id here; for what else they can name there may be a claim. */
function withPlaceholders(topic: string): string | undefined {
  const filter = topic.replace(/\$\{(?:clientid|username)\}|%[cu]/g, '{client_id}');
  return filter.includes('${') ? undefined : filter;
}

function suggestion(action: Action, filter: string | undefined, options: readonly string[] = []): string {
  if (filter === undefined || !isTopicFilter(filter)) return `no topic filter says what it says of ${action}`;
  if (isReservedTopic(filter)) return `${filter} is always refused, so leave it out`;
  if (options.length === 0) return `the nearest is ${directScopeToken(action, filter)}`;
  return `the nearest is a rule ${action}: [ { topic: ${quote(filter)}, ${options.join(', ')} } ]`;
}

function denySuggestion(action: Action, filter: string | undefined): string {
  if (filter === undefined || !isTopicFilter(filter))
    return `no topic filter says what it denies to ${action}`;
  return `the nearest is deny: [ { ${action}: [ ${quote(filter)} ] } ] in the policy`;
}

function quote(filter: string): string {
  return `'${filter.replaceAll("'", "''")}'`;
}
