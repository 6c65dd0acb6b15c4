import { nearest, type ReasonCode } from '@fleetgate/shared';
import { type Attempt, type Decision, decideNoting, type Principal, type Witness } from './decide.ts';
import { aclClaimWords, foreignScopeWords } from './foreign-syntax.ts';
import type {
  DenyRule,
  Granted,
  Grants,
  MessageRate,
  PublishRule,
  SubscribeRule,
  Unapplied,
} from './grants.ts';
import type { Policy } from './policy.ts';

/** A decision with what led to it; plain data, for JSON as it stands. */
export interface Explanation {
  readonly decision: Decision;
  readonly attempt: Attempt;
  /** One sentence: the rule that allowed or refused, or that no rule did. */
  readonly because: string;
  /** For `no_rule` and `filter_broader_than_rule`: the rule that comes nearest, and where the two part. */
  readonly nearestMiss?: string;
  /** Scopes and rules that grant nothing to this client, and why. */
  readonly notes: readonly string[];
}

/** What {@link decide} says of an attempt, and why. Same code path. */
export function explain(principal: Principal, attempt: Attempt, nowMs: number = Date.now()): Explanation {
  const witness: Witness = {};
  const decision = decideNoting(principal, attempt, nowMs, witness);
  const miss =
    !decision.allowed && missReasons.has(decision.reason) ? nearestMiss(principal, attempt) : undefined;
  return {
    decision,
    attempt,
    because: because(decision, attempt, witness),
    ...(miss === undefined ? {} : { nearestMiss: miss }),
    notes: unappliedNotes(principal.grants),
  };
}

/** What of a token's scopes, and of the rules behind them, grants nothing, and why: a sentence each. */
export function unappliedNotes({ unapplied, policy }: Grants): string[] {
  return unapplied.map((one, number) => noteOf(one, policy, number < MAX_COMPARED));
}

/** Scopes that are compared with all names of the policy. Ours: a token may hold hundreds that are of another. */
const MAX_COMPARED = 20;

const missReasons: ReadonlySet<ReasonCode> = new Set(['no_rule', 'filter_broader_than_rule']);

/** The explanation as lines for people. */
export function formatExplanation({ decision, attempt, because, nearestMiss, notes }: Explanation): string {
  const what = `${attempt.action} ${attempt.action === 'subscribe' ? attempt.filter : attempt.topic}`;
  const verdict = decision.allowed ? 'allowed' : `refused (${decision.reason})`;
  const lines = [
    `${verdict}: ${what}`,
    because,
    ...(nearestMiss === undefined ? [] : [`nearest: ${nearestMiss}`]),
    ...notes.map((note) => `note: ${note}`),
  ];
  // A token that was only decoded may hold anything, and a terminal would obey it.
  return lines.map((line) => line.replace(/[\x00-\x1f\x7f-\x9f]/g, '?')).join('\n');
}

function because(decision: Decision, attempt: Attempt, { rule, deny }: Witness): string {
  if (decision.allowed) {
    return rule === undefined ? 'allowed' : `${nameRule(rule)} allows it${rateWords(decision.rate)}`;
  }
  const named = rule === undefined ? 'the rule' : nameRule(rule);
  switch (decision.reason) {
    case 'denied_by_rule':
      return `${deny === undefined ? 'a deny' : nameDeny(deny)} refuses it${unlessWords(deny)}`;
    case 'qos_too_high':
      return `${named} allows QoS up to ${rule?.rule.maxQos}${'qos' in attempt ? `, not ${attempt.qos}` : ''}`;
    case 'retain_not_allowed':
      return `${named} allows no retained message`;
    case 'payload_too_large':
      return `${named} allows ${sizeWords(rule?.rule)}${'bytes' in attempt ? `, not ${attempt.bytes}` : ''}`;
    case 'filter_broader_than_rule':
      return `${named} is narrower than the filter; subscribe to a part of it, or set 'broader: filter' on the rule`;
    case 'filter_not_exact':
      return `${named} has 'broader: exact': only that very filter is accepted`;
    case 'topic_reserved':
      return '$SYS, $share and $fleetgate are always refused';
    case 'topic_malformed':
      return 'that is no topic name (MQTT 3.1.1 §4.7): a publish names one topic, without wildcards';
    case 'filter_malformed':
      return 'that is no topic filter (MQTT 3.1.1 §4.7)';
    case 'no_rule':
      return 'no rule of its scopes matches';
    case 'session_expired':
      return 'the token has expired';
    default:
      return decision.reason;
  }
}

function rateWords(rate: MessageRate | undefined): string {
  if (rate === undefined) return '';
  return `, up to ${rate.perSecond} a second and ${rate.burst} at once`;
}

function sizeWords(rule: PublishRule | SubscribeRule | undefined): string {
  return rule !== undefined && 'maxPayloadBytes' in rule
    ? `up to ${rule.maxPayloadBytes} bytes`
    : 'fewer bytes';
}

function nameRule({ filter, rule }: Granted<PublishRule | SubscribeRule>): string {
  const filled = filter === rule.written ? '' : ` (here ${filter})`;
  const place = rule.source === undefined ? '' : ` at ${rule.source}`;
  return `\`${rule.written}\`${filled} of scope ${rule.scope}${place}`;
}

function nameDeny({ filter, rule }: Granted<DenyRule>): string {
  const filled = filter === rule.written ? '' : ` (here ${filter})`;
  return `deny \`${rule.written}\`${filled}${rule.source === undefined ? '' : ` at ${rule.source}`}`;
}

function unlessWords(deny: Granted<DenyRule> | undefined): string {
  const unless = deny?.rule.unless ?? [];
  return unless.length === 0 ? '' : `; scope ${unless.join(' or ')} would lift it`;
}

function nearestMiss({ grants }: Principal, attempt: Attempt): string | undefined {
  const asked = attempt.action === 'subscribe' ? attempt.filter : attempt.topic;
  const rules: readonly Granted<PublishRule | SubscribeRule>[] =
    attempt.action === 'publish' ? grants.publish : grants.subscribe;
  let best: { granted: Granted<PublishRule | SubscribeRule>; parting: Parting } | undefined;
  for (const granted of rules) {
    const parting = partingOf(granted.filter, asked);
    if (best === undefined || isNearer(parting, best.parting)) best = { granted, parting };
  }
  if (best === undefined) return undefined;
  const verb = attempt.action === 'subscribe' ? 'does not cover it' : 'does not match';
  const { written, scope } = best.granted.rule;
  return `\`${written}\` of scope ${scope} ${verb} because ${best.parting.words}`;
}

interface Parting {
  /** The first level, from 1, at which the two differ. */
  level: number;
  /** Levels at which they agree, wherever: between rules that part at the same level the one with more is nearer. */
  agreed: number;
  words: string;
}

function isNearer(one: Parting, other: Parting): boolean {
  return one.level > other.level || (one.level === other.level && one.agreed > other.agreed);
}

/** Where a rule that does not match or cover `asked` parts from it. */
function partingOf(filter: string, asked: string): Parting {
  const granted = filter.split('/');
  const levels = asked.split('/');
  const agreed = granted.filter((level, index) => level === levels[index] || level === '+').length;
  if (asked.startsWith('$') && !filter.startsWith('$')) {
    const words = `level 1 is \`${levels[0]}\`, and only a rule that names it reaches a topic that begins with \`$\``;
    return { level: 1, agreed: 0, words };
  }
  for (const [index, level] of granted.entries()) {
    const actual = levels[index];
    if (actual === undefined) {
      return { level: index + 1, agreed, words: `it ends before level ${index + 1}, \`${level}\`` };
    }
    if (level === '+' ? actual === '#' : level !== actual) {
      return { level: index + 1, agreed, words: `level ${index + 1} is \`${actual}\`, not \`${level}\`` };
    }
  }
  const next = granted.length + 1;
  return { level: next, agreed, words: `the rule ends before level ${next}, \`${levels[granted.length]}\`` };
}

function noteOf(one: Unapplied, policy: Policy | undefined, isCompared: boolean): string {
  switch (one.kind) {
    case 'scope_unknown': {
      const foreign = foreignScopeWords(one.scope);
      if (foreign !== undefined) return `scope ${one.scope}: ${foreign}`;
      if (policy === undefined) return `scope ${one.scope} grants nothing: there is no policy`;
      const near = isCompared ? nearest(one.scope, policy.scopes.keys()) : undefined;
      return `scope ${one.scope} is not in the policy${near === undefined ? '' : `; nearest is ${near}`}`;
    }
    case 'scope_malformed':
      return `scope ${one.scope} grants nothing: ${one.problem}`;
    case 'aif_malformed':
      return `the AIF scope grants nothing: ${one.problem}`;
    case 'acl_claim':
      return `claim acl: ${aclClaimWords(one.acl)}`;
    case 'scope_reserved':
      return `scope ${one.scope} grants nothing: ${one.filter} is reserved`;
    case 'placeholder_unusable':
      return `\`${one.rule.written}\` of scope ${one.scope} does not apply: {${one.placeholder}}: ${one.problem}`;
    case 'deny_widened':
      return `deny \`${one.rule.written}\` applies as ${one.filter}: {${one.placeholder}}: ${one.problem}`;
    case 'too_many_grants':
      return `only the first ${one.limit} rules of each kind grant`;
  }
}
