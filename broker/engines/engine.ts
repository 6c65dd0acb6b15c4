import type { DenyRule, Granted, PublishRule, SubscribeRule } from '../authorization/grants.ts';

export type EngineName = 'rabbitmq' | 'emqx';

/** Options of a rule that an engine may have no word for, as the policy file spells them. */
export const ruleOptions = ['max_qos', 'retain', 'max_payload_bytes', 'max_messages_per_second'] as const;
export type RuleOption = (typeof ruleOptions)[number];

/**
 * A broker of another make, which knows no policy and reads a claim of the token instead: how each rule is said in that
 * claim. Pure. What it says never allows more than the rule does; what cannot be said so is a problem, in words.
 */
export interface Engine {
  readonly name: EngineName;
  /** The claim it reads. */
  readonly claim: string;
  /** Options of rules that it holds clients to. */
  readonly enforces: ReadonlySet<RuleOption>;
  /** Options that it does not hold clients to, and that a rule may have all the same: who runs it knows. */
  readonly accepted: ReadonlySet<RuleOption>;
  publish(granted: Granted<PublishRule>): Saying;
  subscribe(granted: Granted<SubscribeRule>): Saying;
  /** Unset for an engine that can only allow. */
  readonly denyPublish: ((granted: Granted<DenyRule>) => Saying) | undefined;
  /** Claims beside it that would say something else to it: tokens must not get them from metadata. */
  readonly ownClaims: ReadonlySet<string>;
  /** What is wrong with a scope of ours that the engine would read as one of its own. */
  ownScopeProblem(scope: string): string | undefined;
  /** The claim, of what was said of the rules of one client. */
  assemble(clientId: string, said: Said): readonly unknown[];
}

/** How a rule is said. `narrowed` is what the engine refuses that our broker allows by the same rule, in words. */
export type Saying =
  | { readonly parts: readonly unknown[]; readonly narrowed?: string | undefined }
  | { readonly problem: string };

export interface Said {
  readonly denies: readonly unknown[];
  readonly allows: readonly unknown[];
}

/** What is to be known of one rule on an engine. */
export interface EngineNote {
  /**
   * `refused`: it cannot be said, and so nothing is. `not_enforced`: an option of it that the engine does not hold clients
   * to, accepted by who runs it. `narrowed`: the engine allows less by it than our broker.
   */
  readonly kind: 'refused' | 'not_enforced' | 'narrowed';
  /** Absent where it is about a scope by itself. */
  readonly action?: 'publish' | 'subscribe';
  readonly scope: string;
  /** The filter as written, or as one client has it; absent where it is about a scope by itself. */
  readonly filter?: string;
  /** `file:line:column`; absent for what came in a token. */
  readonly source?: string;
  readonly words: string;
}

/** A note on one line. */
export function formatEngineNote({ kind, action, scope, filter, source, words }: EngineNote): string {
  const where = source === undefined ? '' : `${source}: `;
  const what = filter === undefined ? `scope ${scope}` : `${action} ${filter} of scope ${scope}`;
  return `${where}${kind} ${what}: ${words}`;
}
