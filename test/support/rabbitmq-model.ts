/**
 * RabbitMQ's MQTT and OAuth 2 plugins as they are documented: what scopes permit of MQTT, and what a subscription is
 * delivered. Shares no code with the translation.
 */
export interface RabbitmqModel {
  readonly scopes: readonly string[];
  /** What the plugin takes off each scope; others count for nothing. */
  readonly prefix: string;
  readonly vhost: string;
  readonly exchange: string;
  /** The MQTT client id. */
  readonly clientId: string;
}

/** Publishing needs `write` on the exchange, and on the routing key. */
export function rabbitmqPublishes(model: RabbitmqModel, topic: string): boolean {
  const { exchange } = model;
  return permits(model, 'write', exchange) && permits(model, 'write', exchange, routingKey(topic));
}

/** Subscribing makes a queue, reads it, and binds it to the exchange by the filter. */
export function rabbitmqSubscribes(model: RabbitmqModel, filter: string, qos: 0 | 1 | 2): boolean {
  const queue = `mqtt-subscription-${model.clientId}qos${Math.min(qos, 1)}`;
  const { exchange } = model;
  return (
    ['configure', 'write', 'read'].every((permission) => permits(model, permission, queue)) &&
    permits(model, 'read', exchange) &&
    permits(model, 'read', exchange, routingKey(filter))
  );
}

/** The routing of a topic exchange: words between dots, `*` is one of them, `#` any number. */
export function rabbitmqDelivers(filter: string, topic: string): boolean {
  return wordsMatch(routingKey(filter).split('.'), routingKey(topic).split('.'));
}

/** The topic that a subscriber sees of what was published to `topic`. */
export function rabbitmqTopic(topic: string): string {
  return topic.replaceAll('.', '/').replaceAll('*', '+');
}

function routingKey(topic: string): string {
  return topic.replaceAll('/', '.').replaceAll('+', '*');
}

function wordsMatch(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === '#') return words.some((_, i) => wordsMatch(rest, words.slice(i))) || wordsMatch(rest, []);
  const [word, ...others] = words;
  return word !== undefined && (first === '*' || first === word) && wordsMatch(rest, others);
}

/** `<permission>:<vhost pattern>/<name pattern>[/<routing key pattern>]`. */
function permits(
  { scopes, prefix, vhost }: RabbitmqModel,
  permission: string,
  name: string,
  key?: string,
): boolean {
  return scopes.some((scope) => {
    if (!scope.startsWith(`${prefix}${permission}:`)) return false;
    const parts = scope.slice(prefix.length + permission.length + 1).split('/');
    const [vhostPattern = '', namePattern = '', keyPattern] = parts;
    if (parts.length < 2 || parts.length > 3) return false;
    if (!patternMatches(vhostPattern, vhost) || !patternMatches(namePattern, name)) return false;
    return key === undefined || (keyPattern !== undefined && patternMatches(keyPattern, key));
  });
}

/** `*` stands for any bytes; what else a pattern must not say by itself is percent-encoded. */
function patternMatches(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
  const [start = ''] = parts;
  if (parts.length === 1) return text === start;
  if (!text.startsWith(start)) return false;
  let at = start.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  const end = parts.at(-1) ?? '';
  return text.length - end.length >= at && text.endsWith(end);
}
