import { covers, overlaps } from '@fleetgate/shared';
import { compileGrants } from '../authorization/compile.ts';
import type { DenyRule, GrantClaims, Granted, PublishRule, SubscribeRule } from '../authorization/grants.ts';
import type { Policy } from '../authorization/policy.ts';
import type { Engine, EngineNote, RuleOption, Saying } from './engine.ts';

/** The claim of one token, or why there can be none. */
export type EngineClaim =
  | { readonly value: readonly unknown[]; readonly notes: readonly EngineNote[] }
  | { readonly refused: readonly EngineNote[] };

/**
 * What a token of these claims holds for an engine under a policy: what `decide` allows, or less where a note says so, and
 * never more. One rule that cannot be said refuses the whole.
 */
export function engineClaim(engine: Engine, policy: Policy | undefined, claims: GrantClaims): EngineClaim {
  const grants = compileGrants(policy, claims);
  const notes: EngineNote[] = claims.scopes.flatMap((scope) => ownScopeNotes(engine, scope));
  const denies: unknown[] = [];
  const allows: unknown[] = [];
  for (const deny of grants.denyPublish) {
    if (engine.denyPublish === undefined) break;
    if (!grants.publish.some(({ filter }) => overlaps(deny.filter, filter))) continue;
    const saying = engine.denyPublish(deny);
    if ('problem' in saying) notes.push(denyNote(deny, saying.problem));
    else denies.push(...saying.parts);
  }
  for (const granted of grants.publish) {
    const touch = touchOf(granted.filter, grants.denyPublish);
    keep(sayRule(engine, { action: 'publish', granted }, touch));
  }
  for (const granted of grants.subscribe) {
    const touch = touchOf(granted.filter, grants.denySubscribe);
    keep(sayRule(engine, { action: 'subscribe', granted }, touch));
  }
  const refused = notes.filter(({ kind }) => kind === 'refused');
  if (refused.length > 0) return { refused };
  return { value: engine.assemble(claims.clientId, { denies, allows }), notes };

  function keep(said: SaidRule): void {
    allows.push(...said.parts);
    notes.push(...said.notes);
  }
}

export type EngineRule =
  | { readonly action: 'publish'; readonly granted: Granted<PublishRule> }
  | { readonly action: 'subscribe'; readonly granted: Granted<SubscribeRule> };

export interface SaidRule {
  readonly parts: readonly unknown[];
  readonly notes: readonly EngineNote[];
}

/** Whether denies take in all of a rule, or a part of it. */
export type DenyTouch = { readonly touches: 'whole' | 'part'; readonly filter: string } | undefined;

/** How one rule is said. One that is denied whole grants nothing, and need not be. */
export function sayRule(engine: Engine, rule: EngineRule, touch: DenyTouch): SaidRule {
  const { scope, source } = rule.granted.rule;
  const note = (kind: EngineNote['kind'], words: string): EngineNote => ({
    kind,
    action: rule.action,
    scope,
    filter: rule.granted.filter,
    ...(source === undefined ? {} : { source }),
    words,
  });
  if (touch?.touches === 'whole') {
    const isFiltered = rule.action === 'subscribe' && rule.granted.rule.broader === 'filter';
    return { parts: [], notes: isFiltered ? [note('narrowed', NOTHING_DELIVERED)] : [] };
  }
  const notes = optionsOf(rule).flatMap(([option, words]) => optionNotes(engine, option, words, note));
  if (touch !== undefined && !(rule.action === 'publish' && engine.denyPublish !== undefined)) {
    notes.push(note('refused', partDenied(engine, rule.action, touch.filter)));
  }
  const saying = say(engine, rule);
  if ('problem' in saying) return { parts: [], notes: [...notes, note('refused', saying.problem)] };
  if (saying.narrowed !== undefined) notes.push(note('narrowed', saying.narrowed));
  return { parts: saying.parts, notes };
}

const NOTHING_DELIVERED =
  'all of it is denied: a filter that is broader, which would be delivered nothing, is refused';

function say(engine: Engine, rule: EngineRule): Saying {
  return rule.action === 'publish' ? engine.publish(rule.granted) : engine.subscribe(rule.granted);
}

function partDenied({ name }: Engine, action: EngineRule['action'], deny: string): string {
  const why =
    action === 'publish'
      ? `${engineWords[name]} knows no deny`
      : `${engineWords[name]} does not filter what it delivers to a wildcard`;
  return `the deny ${deny} takes in a part of it, and ${why}`;
}

/** What people call it. */
export const engineWords = Object.freeze({ rabbitmq: 'RabbitMQ', emqx: 'EMQX' });

/** The options of a rule that limit it, and how they are written. */
function optionsOf({ action, granted }: EngineRule): [RuleOption, string][] {
  const { rule } = granted;
  const options: [RuleOption, string][] = [];
  if (rule.maxQos < 2) options.push(['max_qos', String(rule.maxQos)]);
  if (action === 'subscribe') return options;
  const { retain, maxPayloadBytes, rated } = granted.rule;
  if (!retain) options.push(['retain', 'false']);
  if (maxPayloadBytes !== Number.POSITIVE_INFINITY)
    options.push(['max_payload_bytes', String(maxPayloadBytes)]);
  if (rated !== undefined) options.push(['max_messages_per_second', String(rated.rate.perSecond)]);
  return options;
}

function optionNotes(
  engine: Engine,
  option: RuleOption,
  value: string,
  note: (kind: EngineNote['kind'], words: string) => EngineNote,
): EngineNote[] {
  if (engine.enforces.has(option)) return [];
  const words = `${engineWords[engine.name]} does not hold clients to ${option}: ${value}`;
  return [
    engine.accepted.has(option)
      ? note('not_enforced', words)
      : note('refused', `${words}; leave it out of the policy, or accept it (accept_not_enforced)`),
  ];
}

export function ownScopeNotes(engine: Engine, scope: string, source?: string): EngineNote[] {
  const words = engine.ownScopeProblem(scope);
  if (words === undefined) return [];
  return [{ kind: 'refused', scope, ...(source === undefined ? {} : { source }), words }];
}

export function denyNote({ filter, rule }: Granted<DenyRule>, problem: string): EngineNote {
  return {
    kind: 'refused',
    action: 'publish',
    scope: 'deny',
    filter,
    ...(rule.source === undefined ? {} : { source: rule.source }),
    words: problem,
  };
}

function touchOf(filter: string, denies: readonly Granted<DenyRule>[]): DenyTouch {
  let part: DenyTouch;
  for (const deny of denies) {
    if (!overlaps(deny.filter, filter)) continue;
    if (covers(deny.filter, filter)) return { touches: 'whole', filter: deny.filter };
    part ??= { touches: 'part', filter: deny.filter };
  }
  return part;
}
