import { covers, overlaps } from '@fleetgate/shared';
import type { DenyRule, RuleOrigin } from '../authorization/grants.ts';
import type { Policy, TemplateRule } from '../authorization/policy.ts';
import type { Template } from '../authorization/template.ts';
import type { Engine, EngineNote } from './engine.ts';
import { type DenyTouch, denyNote, type EngineRule, ownScopeNotes, sayRule } from './translate.ts';

/**
 * What is to be known of a policy on an engine whoever the client is, in the order of the file: which rules cannot be said
 * to it, and of which it allows less, or does not hold clients to an option. What a value of a placeholder or a direct
 * scope makes of a token is seen when there is one.
 */
export function checkForEngine(engine: Engine, policy: Policy): readonly EngineNote[] {
  const notes: EngineNote[] = [];
  for (const [scope, { source, publish, subscribe }] of policy.scopes) {
    notes.push(...ownScopeNotes(engine, scope, source));
    for (const one of publish) {
      const granted = { rule: one.rule, filter: sample(one.template) };
      notes.push(...ruleNotes(engine, { action: 'publish', granted }, one, policy.denyPublish));
    }
    for (const one of subscribe) {
      const granted = { rule: one.rule, filter: sample(one.template) };
      notes.push(...ruleNotes(engine, { action: 'subscribe', granted }, one, policy.denySubscribe));
    }
  }
  for (const { rule, template } of policy.denyPublish) {
    const saying = engine.denyPublish?.({ rule, filter: sample(template) });
    if (saying !== undefined && 'problem' in saying) {
      notes.push(denyNote({ rule, filter: rule.written }, saying.problem));
    }
  }
  return notes;
}

/** A filter as some client has it. What values of placeholders do to it is a matter of the client. */
const sample = (template: Template) => template.fill(() => 'x');

function ruleNotes(
  engine: Engine,
  rule: EngineRule,
  { template }: TemplateRule<RuleOrigin>,
  denies: readonly TemplateRule<DenyRule>[],
): readonly EngineNote[] {
  const held = denies.filter((deny) => !deny.rule.unless.includes(rule.granted.rule.scope));
  const { notes } = sayRule(engine, rule, touchOf(template, held));
  return notes.map((note) => ({ ...note, filter: rule.granted.rule.written }));
}

function touchOf(template: Template, denies: readonly TemplateRule<DenyRule>[]): DenyTouch {
  let part: DenyTouch;
  for (const { template: deny, rule } of denies) {
    if (!overlaps(deny.widened(), template.widened())) continue;
    // With `unless` a token may be free of it.
    if (rule.unless.length === 0 && covers(deny.symbolic(), template.symbolic())) {
      return { touches: 'whole', filter: rule.written };
    }
    if (!isWholeWhereItTouches(deny, template)) part ??= { touches: 'part', filter: rule.written };
  }
  return part;
}

/** Whether a deny takes in all of a rule for each value of placeholders for which it takes in any of it. */
function isWholeWhereItTouches(deny: Template, rule: Template): boolean {
  const [denied, ruled] = [deny.symbolic().split('/'), rule.symbolic().split('/')];
  // Two levels without wildcards, one of which has a placeholder, are the same where they touch.
  for (const [index, level] of denied.entries()) {
    const other = ruled[index];
    if (other === undefined || isWildcard(level) || isWildcard(other)) continue;
    if (level.includes('{') || other.includes('{')) denied[index] = ruled[index] = 'x';
  }
  return covers(denied.join('/'), ruled.join('/'));
}

function isWildcard(level: string): boolean {
  return level === '+' || level === '#';
}
