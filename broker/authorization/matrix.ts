import { covers, overlaps } from '@fleetgate/shared';
import { compileGrants, placeholderValue } from './compile.ts';
import { type Attempt, decide } from './decide.ts';
import type { DenyRule, GrantClaims, PublishRule, SubscribeRule } from './grants.ts';
import type { Policy, TemplateRule } from './policy.ts';
import { type KnownValue, placeholderProblem } from './template.ts';

/** What the scopes of a policy give: plain data, in the order of the file. */
export type PolicyMatrix = readonly MatrixScope[];

export interface MatrixScope {
  readonly scope: string;
  readonly publish: readonly MatrixRule[];
  readonly subscribe: readonly MatrixRule[];
}

export interface MatrixRule {
  /** The filter of the rule, placeholders filled in where they have a value. */
  readonly filter: string;
  /** Options that differ from their defaults, as the file spells them. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  /** The denies that touch it for a token with this scope alone. */
  readonly denies: readonly MatrixDeny[];
  /**
   * A topic the rule matches, or its very filter to subscribe, and what {@link decide} says of it for a token with this
   * scope alone: `allowed` or the reason. Absent where a placeholder has no value.
   */
  readonly example?: { readonly topic: string; readonly outcome: string };
}

export interface MatrixDeny {
  readonly filter: string;
  /** Whether it takes in all of the rule, or may take in a part of it. */
  readonly touches: 'whole' | 'part';
  /** The scopes that lift it. */
  readonly unless: readonly string[];
}

/** Values for placeholders. One that a rule could not use counts as not given. */
export type MatrixValues = Partial<Pick<GrantClaims, 'clientId' | 'group' | 'claims'>>;

/** Every rule of a policy with its options, the denies that touch it, and an example. */
export function policyMatrix(policy: Policy, values: MatrixValues = {}): PolicyMatrix {
  const claims = { clientId: '', claims: {}, scopes: [], ...values };
  const known: KnownValue = (placeholder) => {
    const value = placeholderValue(placeholder, claims);
    return placeholderProblem(value) === undefined ? (value as string) : undefined;
  };
  return Array.from(policy.scopes, ([scope, { publish, subscribe }]) => {
    const outcome = (attempt: Attempt) => outcomeFor(policy, { ...claims, scopes: [scope] }, attempt);
    return {
      scope,
      publish: publish.map((one) => {
        const row = rowOf(one, scope, policy.denyPublish, known, writtenOptions(one.rule));
        if (row.example === undefined) return row.rule;
        // One level for each wildcard.
        const topic = row.example.replaceAll('+', 'x').replace(/#$/, 'x');
        const attempt = { action: 'publish', topic, qos: 0, retain: false, bytes: 0 } as const;
        return { ...row.rule, example: { topic, outcome: outcome(attempt) } };
      }),
      subscribe: subscribe.map((one) => {
        const row = rowOf(one, scope, policy.denySubscribe, known, writtenOptions(one.rule));
        const topic = row.example;
        if (topic === undefined) return row.rule;
        const attempt = { action: 'subscribe', filter: topic, qos: 0 } as const;
        return { ...row.rule, example: { topic, outcome: outcome(attempt) } };
      }),
    };
  });
}

/** The row of a rule, and its filter for an example when every value that matters is there. */
function rowOf(
  one: TemplateRule<PublishRule | SubscribeRule>,
  scope: string,
  denies: readonly TemplateRule<DenyRule>[],
  known: KnownValue,
  options: MatrixRule['options'],
): { rule: MatrixRule; example: string | undefined } {
  const touching = denies.flatMap((deny) => {
    const touches = deny.rule.unless.includes(scope) ? undefined : touchOf(deny, one, known);
    return touches === undefined ? [] : [{ deny, touches }];
  });
  const isKnown = [one, ...touching.map(({ deny }) => deny)].every(({ template }) =>
    template.placeholders.every((placeholder) => known(placeholder) !== undefined),
  );
  const filter = shown(one, known);
  return {
    rule: {
      filter,
      options,
      denies: touching.map(({ deny, touches }) => ({
        filter: shown(deny, known),
        touches,
        unless: deny.rule.unless,
      })),
    },
    example: isKnown ? filter : undefined,
  };
}

function touchOf(
  deny: TemplateRule<DenyRule>,
  rule: TemplateRule<unknown>,
  known: KnownValue,
): MatrixDeny['touches'] | undefined {
  if (covers(deny.template.symbolic(known), rule.template.symbolic(known))) return 'whole';
  return overlaps(deny.template.widened(known), rule.template.widened(known)) ? 'part' : undefined;
}

function shown({ template }: TemplateRule<unknown>, known: KnownValue): string {
  return template.fill((placeholder) => known(placeholder) ?? `{${placeholder}}`);
}

function outcomeFor(policy: Policy, claims: GrantClaims, attempt: Attempt): string {
  const grants = compileGrants(policy, claims);
  const expiresAtMs = Number.POSITIVE_INFINITY;
  const { clientId } = claims;
  const decision = decide({ clientId, issuer: '', tokenId: '', expiresAtMs, grants }, attempt, 0);
  return decision.allowed ? 'allowed' : decision.reason;
}

/** Options of a rule that differ from their defaults, as the file spells them. */
export function writtenOptions(rule: PublishRule | SubscribeRule): MatrixRule['options'] {
  const maxQos = rule.maxQos === 2 ? {} : { max_qos: rule.maxQos };
  if ('broader' in rule)
    return { ...maxQos, ...(rule.broader === 'refuse' ? {} : { broader: rule.broader }) };
  const { retain, maxPayloadBytes, rated } = rule;
  return {
    ...maxQos,
    ...(retain ? {} : { retain }),
    ...(maxPayloadBytes === Number.POSITIVE_INFINITY ? {} : { max_payload_bytes: maxPayloadBytes }),
    ...(rated === undefined
      ? {}
      : { max_messages_per_second: rated.rate.perSecond, burst: rated.rate.burst }),
  };
}
