import { SESSION_TOPIC } from '@fleetgate/shared';
import type { Granted, PublishRule, SubscribeRule } from '../authorization/grants.ts';
import type { Engine, RuleOption, Said, Saying } from './engine.ts';

export interface RabbitmqOptions {
  /** `resource_server_id` of the plugin. It is the audience of the tokens for it. */
  readonly resourceServerId: string;
  /** What the plugin takes off its scopes. Default: the resource server id and a dot. */
  readonly scopePrefix?: string;
  /** Default `/`. */
  readonly vhost?: string;
  /** The exchange of the MQTT plugin. Default `amq.topic`. */
  readonly exchange?: string;
  /** `extra_scopes_source`, or `additional_scopes_key`. Default `extra_scopes`. */
  readonly claim?: string;
  /** Options that rules may have though RabbitMQ does not hold clients to them. Default: none. */
  readonly acceptNotEnforced?: readonly RuleOption[];
}

/**
 * RabbitMQ with the plugins `rabbitmq_mqtt` and `rabbitmq_auth_backend_oauth2`. Its scopes are patterns in which `*`
 * stands for any bytes; they are matched against the routing key, which is the topic or filter with `.` for `/` and `*`
 * for `+`. There is no deny, and no topic that begins with `$` is special.
 */
export function rabbitmq(options: RabbitmqOptions): Engine {
  const { resourceServerId, vhost = '/', exchange = 'amq.topic' } = options;
  const { scopePrefix = `${resourceServerId}.`, claim = 'extra_scopes', acceptNotEnforced = [] } = options;
  const [encodedVhost, encodedExchange] = [encode(vhost), encode(exchange)];
  const scope = (permission: string, name: string) => `${scopePrefix}${permission}:${encodedVhost}/${name}`;
  const topics = (permission: 'read' | 'write', patterns: readonly string[]) =>
    patterns.map((pattern) => scope(permission, `${encodedExchange}/${pattern}`));

  return Object.freeze<Engine>({
    name: 'rabbitmq',
    claim,
    enforces: new Set<RuleOption>(),
    accepted: new Set(acceptNotEnforced),
    publish: (granted) => said('write', publishPatterns(granted)),
    subscribe: (granted) => said('read', subscribePatterns(granted)),
    denyPublish: undefined,
    // Permissions as Keycloak writes them, and as RFC 9396 does.
    ownClaims: new Set(['authorization', 'authorization_details']),
    ownScopeProblem: (own) =>
      own.startsWith(scopePrefix) && permissionPattern.test(own.slice(scopePrefix.length))
        ? 'RabbitMQ would read it as a permission of its own, which no policy has given'
        : undefined,
    assemble: (clientId, { allows }: Said) =>
      allows.length === 0
        ? []
        : Array.from(
            new Set([
              ...(allows as string[]),
              // Our agent asks for it on any broker; RabbitMQ would close the connection.
              ...topics('read', [SESSION_TOPIC.split('/').map(encode).join('.')]),
              ...queuesOf(clientId).flatMap((queue) =>
                ['configure', 'write', 'read'].map((permission) => scope(permission, encode(queue))),
              ),
            ]),
          ),
  });

  function said(permission: 'read' | 'write', patterns: Patterns): Saying {
    if ('problem' in patterns) return patterns;
    return { parts: topics(permission, patterns.patterns), narrowed: patterns.narrowed };
  }
}

type Patterns =
  | { readonly patterns: readonly string[]; readonly narrowed?: string | undefined }
  | { readonly problem: string };

const permissionPattern = /^(?:read|write|configure|tag):/;

function publishPatterns({ filter }: Granted<PublishRule>): Patterns {
  const problem = levelProblem(filter);
  if (problem !== undefined) return { problem };
  const levels = filter.split('/');
  if (levels.includes('+')) {
    return { problem: "'+' cannot be said to RabbitMQ in a publish: its * stands for any levels" };
  }
  if (filter === '#')
    return { problem: "'#' would let RabbitMQ's clients publish topics that begin with '$'" };
  return { patterns: levels.at(-1) === '#' ? below(levels.slice(0, -1)) : [keyOf(levels)] };
}

function subscribePatterns({ filter, rule: { broader } }: Granted<SubscribeRule>): Patterns {
  const problem = levelProblem(filter);
  if (problem !== undefined) return { problem };
  const levels = filter.split('/');
  const isBelow = levels.at(-1) === '#' && levels.length > 1 && !levels.includes('+');
  if (broader === 'exact') return { patterns: [keyOf(levels)] };
  // A `*` in its place would also take a filter with more levels, or with `#`.
  if (/[+#]/.test(filter) && !isBelow) return { patterns: [keyOf(levels)], narrowed: VERY_FILTER };
  return {
    patterns: isBelow ? below(levels.slice(0, -1)) : [keyOf(levels)],
    narrowed: broader === 'filter' ? NO_BROADER : undefined,
  };
}

const VERY_FILTER = 'only this very filter can be subscribed to, none that is narrower or broader';
const NO_BROADER = 'a filter that is broader is refused, since RabbitMQ does not filter what it delivers';

/** All topics and filters at and below the levels. */
function below(levels: readonly string[]): string[] {
  const key = keyOf(levels);
  // Of `/#` the parent is the empty topic, which does not exist.
  return [...(key === '' ? [] : [key]), `${key}.*`];
}

/** Two topics that are one to RabbitMQ would share what is granted of one of them. */
function levelProblem(filter: string): string | undefined {
  if (filter.startsWith('$'))
    return "topics that begin with '$' are as others to RabbitMQ, and reached by its wildcards";
  if (filter.includes('.')) return "RabbitMQ takes '.' in a topic for '/'";
  return filter.includes('*') ? "RabbitMQ takes '*' in a topic for '+'" : undefined;
}

function keyOf(levels: readonly string[]): string {
  return levels.map((level) => encode(level === '+' ? '*' : level)).join('.');
}

/** Percent-encoded so that the plugin decodes the very bytes and sees no pattern in them; it takes `+` for a space. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll('*', '%2A');
}

/** Queues of the MQTT plugin for one MQTT client id; each is named in full, since a pattern would take in those of others. */
function queuesOf(clientId: string): string[] {
  return [0, 1].map((qos) => `mqtt-subscription-${clientId}qos${qos}`);
}
