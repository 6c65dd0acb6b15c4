import { isTopicFilter, parseScopeTokens, topicFilterProblem } from '@fleetgate/shared';
import Type, { type Static } from 'typebox';
import { type DocumentReview, readDocument } from '../document.ts';
import type { DenyRule, Granted, PublishRule, RatedDecision, SubscribeRule } from './grants.ts';
import { isReservedTopic } from './reserved-topics.ts';
import { parseTemplate, type Template } from './template.ts';

/** Rules a policy may have, denies apart. Ours: a thousand rules are 60 KiB of file and a person's whole day. */
export const MAX_POLICY_RULES = 1000;

/** Denies a policy may have. Every attempt is tried against each, and none may be left out. */
export const MAX_POLICY_DENIES = 256;

/** Highest `max_messages_per_second`: about what one broker passes on. More is no limit, so the file need not say it. */
export const MAX_MESSAGES_PER_SECOND = 100_000;

/** Highest `burst`: ten seconds at the highest rate. */
export const MAX_BURST = 1_000_000;

/** A rule of the policy file: a filter that may hold placeholders, and what it allows. */
export interface TemplateRule<Rule> {
  readonly template: Template;
  readonly rule: Rule;
  /** The rule as every principal has it, where it holds no placeholder. */
  readonly granted: Granted<Rule> | undefined;
}

export interface ScopeRules {
  /** `file:line:column`. */
  readonly source: string;
  readonly publish: readonly TemplateRule<PublishRule>[];
  readonly subscribe: readonly TemplateRule<SubscribeRule>[];
}

/** A policy file, validated and frozen. */
export interface Policy {
  readonly version: 1;
  readonly scopes: ReadonlyMap<string, ScopeRules>;
  readonly denyPublish: readonly TemplateRule<DenyRule>[];
  readonly denySubscribe: readonly TemplateRule<DenyRule>[];
}

const closed = { additionalProperties: false };
const topic = Type.String({ minLength: 1, maxLength: 1024 });
const maxQos = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 }));
const publishOptions = Type.Object(
  {
    topic,
    max_qos: maxQos,
    retain: Type.Optional(Type.Boolean()),
    max_payload_bytes: Type.Optional(Type.Integer({ minimum: 0, maximum: 268_435_455 })),
    max_messages_per_second: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: MAX_MESSAGES_PER_SECOND }),
    ),
    // Below 1 no message could ever pass.
    burst: Type.Optional(Type.Number({ minimum: 1, maximum: MAX_BURST })),
  },
  closed,
);
const subscribeOptions = Type.Object(
  {
    topic,
    max_qos: maxQos,
    broader: Type.Optional(Type.Enum(['refuse', 'filter', 'exact'])),
  },
  closed,
);
const scopeRules = Type.Object(
  {
    publish: Type.Optional(Type.Array(Type.Union([topic, publishOptions]))),
    subscribe: Type.Optional(Type.Array(Type.Union([topic, subscribeOptions]))),
  },
  closed,
);
const policySchema = Type.Object(
  {
    version: Type.Literal(1),
    // TypeBox makes of Type.String() a pattern that no key with a line break matches.
    scopes: Type.Optional(Type.Record(Type.String(), scopeRules, { additionalProperties: scopeRules })),
    deny: Type.Optional(
      Type.Array(
        Type.Object(
          {
            publish: Type.Optional(Type.Array(topic)),
            subscribe: Type.Optional(Type.Array(topic)),
            unless: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
          },
          closed,
        ),
      ),
    ),
  },
  closed,
);
type PolicyFile = Static<typeof policySchema>;

/**
 * The policy in the text of a policy file (YAML). Every problem is one line, `file:line:column: words`.
 * A rule's options: `max_qos` 2, `retain` true (brokers allow retained messages unless told otherwise),
 * `max_payload_bytes` unlimited, `max_messages_per_second` unlimited, `burst` as many as come in a second and at
 * least 1, `broader` refuse.
 * @throws DocumentError `policy_invalid`
 */
export function parsePolicy(text: string, fileName: string): Policy {
  let sources: DocumentReview | undefined;
  const file = readDocument<PolicyFile>(text, fileName, policySchema, {
    code: 'policy_invalid',
    bracedWordsAreText: true,
    review: (value, review) => {
      sources = review;
      reviewPolicy(value, review);
    },
  });
  const locate = (...path: (string | number)[]) => sources?.locate(path) ?? fileName;
  const scopes = new Map<string, ScopeRules>();
  for (const [scope, { publish = [], subscribe = [] }] of Object.entries(file.scopes ?? {})) {
    scopes.set(scope, {
      source: locate('scopes', scope),
      publish: publish.map((entry, index) => {
        const options: Static<typeof publishOptions> = typeof entry === 'string' ? { topic: entry } : entry;
        return templateRule(options.topic, {
          scope,
          written: options.topic,
          source: locate('scopes', scope, 'publish', index),
          maxQos: (options.max_qos ?? 2) as 0 | 1 | 2,
          retain: options.retain ?? true,
          maxPayloadBytes: options.max_payload_bytes ?? Number.POSITIVE_INFINITY,
          rated: ratedDecision(scope, options),
        });
      }),
      subscribe: subscribe.map((entry, index) => {
        const options = typeof entry === 'string' ? { topic: entry } : entry;
        return templateRule(options.topic, {
          scope,
          written: options.topic,
          source: locate('scopes', scope, 'subscribe', index),
          maxQos: (options.max_qos ?? 2) as 0 | 1 | 2,
          broader: options.broader ?? 'refuse',
        });
      }),
    });
  }
  const denies = (action: 'publish' | 'subscribe') =>
    (file.deny ?? []).flatMap((entry, at) =>
      (entry[action] ?? []).map((written, index) =>
        templateRule(written, {
          written,
          source: locate('deny', at, action, index),
          unless: Object.freeze([...(entry.unless ?? [])]),
        }),
      ),
    );
  return Object.freeze({
    version: 1,
    scopes,
    denyPublish: Object.freeze(denies('publish')),
    denySubscribe: Object.freeze(denies('subscribe')),
  });
}

function ratedDecision(scope: string, options: Static<typeof publishOptions>): RatedDecision | undefined {
  const { topic, max_messages_per_second: perSecond } = options;
  if (perSecond === undefined) return undefined;
  const burst = options.burst ?? Math.max(1, perSecond);
  return Object.freeze({ allowed: true, rate: Object.freeze({ scope, topic, perSecond, burst }) });
}

function templateRule<Rule>(written: string, rule: Rule): TemplateRule<Rule> {
  const template = parseTemplate(written);
  if (typeof template === 'string') throw new TypeError(template);
  const isConcrete = template.placeholders.length === 0;
  Object.freeze(rule);
  return Object.freeze({
    template,
    rule,
    granted: isConcrete ? Object.freeze({ filter: written, rule }) : undefined,
  });
}

/** What the schema cannot say: scope names, filters, placeholders, limits. */
function reviewPolicy(file: PolicyFile, review: DocumentReview): void {
  let rules = 0;
  for (const [scope, { publish = [], subscribe = [] }] of Object.entries(file.scopes ?? {})) {
    const problem = scopeProblem(scope);
    if (problem !== undefined) review.report(['scopes', scope], problem, 'key');
    for (const [action, entries] of Object.entries({ publish, subscribe })) {
      for (const [index, entry] of entries.entries()) {
        rules += 1;
        const path = ['scopes', scope, action, index];
        if (typeof entry === 'string') reviewFilter(entry, path, review);
        else {
          reviewFilter(entry.topic, [...path, 'topic'], review);
          if ('burst' in entry && !('max_messages_per_second' in entry)) {
            review.report([...path, 'burst'], "'burst' needs max_messages_per_second beside it", 'key');
          }
        }
      }
    }
  }
  if (rules > MAX_POLICY_RULES) review.report(['scopes'], `more than ${MAX_POLICY_RULES} rules`, 'key');
  let denies = 0;
  for (const [at, entry] of (file.deny ?? []).entries()) {
    if (entry.publish === undefined && entry.subscribe === undefined) {
      review.report(['deny', at], 'a deny needs publish or subscribe');
    }
    for (const action of ['publish', 'subscribe'] as const) {
      for (const [index, written] of (entry[action] ?? []).entries()) {
        denies += 1;
        reviewFilter(written, ['deny', at, action, index], review);
      }
    }
    for (const [index, scope] of (entry.unless ?? []).entries()) {
      const problem = scopeProblem(scope);
      if (problem !== undefined) review.report(['deny', at, 'unless', index], problem);
    }
  }
  if (denies > MAX_POLICY_DENIES) review.report(['deny'], `more than ${MAX_POLICY_DENIES} denies`, 'key');
}

function scopeProblem(scope: string): string | undefined {
  if (scope.startsWith('mqtt:')) return 'scopes that begin with mqtt: are direct and cannot be named here';
  try {
    parseScopeTokens([scope]);
    return undefined;
  } catch {
    return 'not a scope token (RFC 6749 §3.3): printable ASCII without space, quote and backslash';
  }
}

function reviewFilter(written: string, path: (string | number)[], review: DocumentReview): void {
  const template = parseTemplate(written);
  if (typeof template === 'string') {
    review.report(path, template);
    return;
  }
  const sample = template.fill(() => 'x');
  if (!isTopicFilter(sample)) {
    review.report(path, `not a topic filter: ${topicFilterProblem(sample)}`);
  } else if (isReservedTopic(sample)) {
    review.report(path, '$SYS, $share and $fleetgate cannot be granted or denied: they are always refused');
  }
}
