import { covers, type SessionGrants } from '@fleetgate/shared';
import type { ScopeFormat } from '@fleetgate/verifier';
import type { Policy } from './policy.ts';

/**
 * What one principal may do, compiled once per token and policy. Only `decide`, `explain` and `listGrants` look
 * inside. A rule without placeholders is one object for all principals; the others cost one small object each.
 */
export interface Grants {
  readonly publish: readonly Granted<PublishRule>[];
  readonly subscribe: readonly Granted<SubscribeRule>[];
  readonly denyPublish: readonly Granted<DenyRule>[];
  readonly denySubscribe: readonly Granted<DenyRule>[];
  /** What the token or the policy names and what grants nothing here; read by `explain` alone. */
  readonly unapplied: readonly Unapplied[];
  /** The policy these were compiled from; `undefined` when only direct scopes grant. Read by `explain` alone. */
  readonly policy: Policy | undefined;
}

/** A rule with its placeholders filled in for one principal. */
export interface Granted<Rule> {
  readonly filter: string;
  readonly rule: Rule;
}

/** Where a rule stands. */
export interface RuleOrigin {
  /** The filter as written, with its placeholders. */
  readonly written: string;
  /** `file:line:column`; `undefined` for a direct scope, which comes from the token. */
  readonly source: string | undefined;
}

export type QualityOfService = 0 | 1 | 2;

export interface PublishRule extends RuleOrigin {
  readonly scope: string;
  readonly maxQos: QualityOfService;
  readonly retain: boolean;
  /** Infinity when the rule sets none: the packet limit of the broker still holds. */
  readonly maxPayloadBytes: number;
  /** The decision of a rule with a rate, made once so that deciding allocates nothing; `undefined` without one. */
  readonly rated: RatedDecision | undefined;
}

/** A publish that is allowed as often as `rate` says. Whoever asked takes it from the bucket of that rate. */
export interface RatedDecision {
  readonly allowed: true;
  readonly rate: MessageRate;
}

/** How often a rule lets a client publish. One object for each rule, which names its bucket. */
export interface MessageRate {
  readonly scope: string;
  /** The filter of the rule as written. */
  readonly topic: string;
  /** Messages a second in the long run. */
  readonly perSecond: number;
  /** Messages at once, after a pause long enough. */
  readonly burst: number;
}

/** What happens to a requested filter that is broader than the rule; see `decide`. */
export type Broader = 'refuse' | 'filter' | 'exact';

export interface SubscribeRule extends RuleOrigin {
  readonly scope: string;
  readonly maxQos: QualityOfService;
  readonly broader: Broader;
}

export interface DenyRule extends RuleOrigin {
  /** The scopes any of which lifts this deny. */
  readonly unless: readonly string[];
}

/** A scope or a rule that grants nothing to this principal, and why. */
export type Unapplied =
  | { readonly kind: 'scope_unknown'; readonly scope: string }
  | { readonly kind: 'scope_malformed'; readonly scope: string; readonly problem: string }
  | { readonly kind: 'aif_malformed'; readonly problem: string }
  | { readonly kind: 'acl_claim'; readonly acl: object }
  | { readonly kind: 'scope_reserved'; readonly scope: string; readonly filter: string }
  | {
      readonly kind: 'placeholder_unusable';
      readonly rule: RuleOrigin;
      readonly scope: string;
      readonly placeholder: string;
      readonly problem: string;
    }
  | {
      readonly kind: 'deny_widened';
      readonly rule: RuleOrigin;
      readonly filter: string;
      readonly placeholder: string;
      readonly problem: string;
    }
  | { readonly kind: 'too_many_grants'; readonly limit: number };

export type { ScopeFormat };

/** What of a token becomes grants. A `VerifiedToken` is such. */
export interface GrantClaims {
  readonly clientId: string;
  readonly group?: string;
  /** Scope tokens (RFC 6749 §3.3), each a whole token. */
  readonly scopes: readonly string[];
  /** Of the issuer. Default: `named`. */
  readonly scopeFormat?: ScopeFormat;
  /** All claims of the token, for `{claim:NAME}`. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * Rules one principal may hold of each kind. Every publish is tried against each of them; 256 failed matches of
 * a usual topic take some ten microseconds. Rules beyond it do not grant.
 */
export const MAX_GRANTS_PER_PRINCIPAL = 256;

/** Grants nothing. */
export const emptyGrants: Grants = Object.freeze({
  publish: Object.freeze([]),
  subscribe: Object.freeze([]),
  denyPublish: Object.freeze([]),
  denySubscribe: Object.freeze([]),
  unapplied: Object.freeze([]),
  policy: undefined,
});

/** The filters `grants` allows, without those a deny covers whole; a deny that covers a part does not show. */
export function listGrants(grants: Grants): SessionGrants {
  return {
    publish: listFilters(grants.publish, grants.denyPublish),
    subscribe: listFilters(grants.subscribe, grants.denySubscribe),
  };
}

function listFilters(granted: readonly Granted<unknown>[], denied: readonly Granted<unknown>[]): string[] {
  const alive = granted.filter(({ filter }) => !denied.some((deny) => covers(deny.filter, filter)));
  return Array.from(new Set(alive.map(({ filter }) => filter)));
}
