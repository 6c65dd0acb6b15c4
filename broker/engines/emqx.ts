import { SESSION_TOPIC } from '@fleetgate/shared';
import type { QualityOfService } from '../authorization/grants.ts';
import type { Engine, RuleOption, Saying } from './engine.ts';

export interface EmqxOptions {
  /** `acl_claim_name` of the JWT authenticator. Default `acl`. */
  readonly claim?: string;
  /** Options that rules may have though EMQX does not hold clients to them. Default: none. */
  readonly acceptNotEnforced?: readonly RuleOption[];
}

/** A rule of the claim, in the format of EMQX 5.5 and later. */
export interface EmqxRule {
  readonly permission: 'allow' | 'deny';
  readonly action: 'publish' | 'subscribe' | 'all';
  /** A filter; `eq ` in front makes it stand for that very text. `${…}` is filled in by EMQX. */
  readonly topic: string;
  /** Default: every QoS. */
  readonly qos?: readonly QualityOfService[];
  /** Default: retained or not. */
  readonly retain?: boolean;
}

/**
 * EMQX with a JWT authenticator. The first rule of the claim that matches decides; when none does, other authorizers are
 * asked, so the last one denies all. A wildcard of a requested filter is matched as a text.
 */
export function emqx({ claim = 'acl', acceptNotEnforced = [] }: EmqxOptions = {}): Engine {
  return Object.freeze<Engine>({
    name: 'emqx',
    claim,
    enforces: new Set<RuleOption>(['max_qos', 'retain']),
    accepted: new Set(acceptNotEnforced),
    publish: ({ filter, rule }) =>
      said(filter, { ...allow('publish', rule.maxQos), ...(rule.retain ? {} : { retain: false }) }),
    subscribe({ filter, rule: { maxQos, broader } }) {
      const rule = allow('subscribe', maxQos);
      if (broader === 'exact') return said(filter, rule, { isVery: true });
      // `a/#` is a text that `a/+` and `a/+/#` match, and means more than they do.
      if (/(?:^|\/)\+(?:\/#)?$/.test(filter) && filter !== '+/#') {
        return said(filter, rule, { isVery: true, narrowed: VERY_FILTER });
      }
      return said(filter, rule, { narrowed: broader === 'filter' ? NO_BROADER : undefined });
    },
    denyPublish: ({ filter }) =>
      // No rule that is said reaches there.
      filter.startsWith('$') ? { parts: [] } : said(filter, { permission: 'deny', action: 'publish' }),
    // The first lifts every rule, and the second the binding of the client id.
    ownClaims: new Set(['is_superuser', 'clientid_override', 'client_attrs']),
    ownScopeProblem: () => undefined,
    assemble: (_clientId, { denies, allows }) => [
      { permission: 'deny', action: 'all', topic: '$SYS/#' },
      ...denies,
      // Our agent asks for it on any broker.
      ...(allows.length === 0
        ? []
        : [{ permission: 'allow', action: 'subscribe', topic: `eq ${SESSION_TOPIC}` }]),
      ...allows,
      { permission: 'deny', action: 'all', topic: '#' },
    ],
  });
}

const VERY_FILTER = 'only this very filter can be subscribed to, none that is narrower or broader';
const NO_BROADER = 'a filter that is broader is refused, since EMQX does not filter what it delivers';

function allow(action: 'publish' | 'subscribe', maxQos: QualityOfService): Omit<EmqxRule, 'topic'> {
  const qos = ([0, 1] as const).filter((one) => one <= maxQos);
  return { permission: 'allow', action, ...(maxQos === 2 ? {} : { qos }) };
}

function said(
  filter: string,
  rule: Omit<EmqxRule, 'topic'>,
  { isVery = false, narrowed }: { isVery?: boolean; narrowed?: string | undefined } = {},
): Saying {
  const problem = filterProblem(filter);
  if (problem !== undefined) return { problem };
  const { permission, action, ...options } = rule;
  return { parts: [{ permission, action, topic: isVery ? `eq ${filter}` : filter, ...options }], narrowed };
}

function filterProblem(filter: string): string | undefined {
  if (filter.startsWith('$')) return "topics that begin with '$' have meanings of their own in EMQX";
  if (filter.startsWith('eq ')) return "EMQX takes 'eq ' in front of a topic for an operator";
  return filter.includes('${') ? "EMQX takes '${' in a topic for a placeholder" : undefined;
}
