import type { Attempt, Policy } from '@fleetgate/broker';
import { matches } from '@fleetgate/shared';
import { claimNames, type Judge, judgeOf, plainPublish, type Subject } from './subject.ts';
import { witnesses } from './witnesses.ts';

/** Something that a subject may do under one policy and not, or not in the same way, under the other. */
export interface PolicyChange {
  readonly subject: string;
  readonly action: 'publish' | 'subscribe' | 'receive';
  readonly change: 'gains' | 'loses' | 'changes';
  /** The rule that allows it, as it is for this subject. */
  readonly filter: string;
  /** Topics, or a filter, of which it is so; each stands for all that the same rules match. */
  readonly examples: readonly string[];
  /** What is special about it: a QoS, retain, a size, a rate. Empty where it is so of any. */
  readonly only: string;
}

export interface NamedSubject extends Subject {
  /** For people. */
  readonly name: string;
}

/** Examples of one change. */
const MAX_EXAMPLES = 3;

/** What subjects gain and lose by a new policy, decided as the broker decides and not by the text. */
export function policyDifference(
  before: Policy,
  after: Policy,
  subjects: readonly NamedSubject[],
): PolicyChange[] {
  return subjects.flatMap((subject) => {
    const [old, now] = [judgeOf(before, subject), judgeOf(after, subject)];
    return grouped([
      ...publishChanges(subject.name, old, now),
      ...receiveChanges(subject.name, old, now),
      ...subscribeChanges(subject.name, old, now),
    ]);
  });
}

/** A subject for each scope of either policy, and for each together with a scope that lifts a deny. */
export function subjectsOf(before: Policy, after: Policy): NamedSubject[] {
  const both = [before, after];
  const names = Array.from(new Set(both.flatMap(({ scopes }) => Array.from(scopes.keys())))).sort();
  const lifting = new Set(
    both.flatMap(({ denyPublish, denySubscribe }) =>
      [...denyPublish, ...denySubscribe].flatMap(({ rule }) => rule.unless),
    ),
  );
  const claims = Object.fromEntries(
    both.flatMap(claimNames).map((name) => [name, `a-${name.replace(/\W/g, '-')}`]),
  );
  const sets = names.flatMap((scope) => [
    [scope],
    ...Array.from(lifting)
      .filter((other) => other !== scope)
      .map((other) => [scope, other]),
  ]);
  return sets.map((scopes) => ({
    name: scopes.join(' '),
    clientId: 'a-client',
    group: 'a-group',
    scopes,
    claims,
  }));
}

type Found = Omit<PolicyChange, 'examples'> & { readonly example: string };

function publishChanges(subject: string, old: Judge, now: Judge): Found[] {
  const judges = [old, now];
  const filters = judges.flatMap(({ grants }) => [...grants.publish, ...grants.denyPublish]);
  const sizes = judges.flatMap(({ grants }) => grants.publish.map(({ rule }) => rule.maxPayloadBytes));
  const variants = publishVariants(sizes);
  return topicsOf(filters).flatMap((topic): Found[] => {
    for (const { only, attempt } of [{ only: '', attempt: plainPublish }, ...variants]) {
      const [was, is] = judges.map((judge) => judge.decide(attempt(topic)));
      if (was === undefined || is === undefined) continue;
      if (was.allowed !== is.allowed) {
        const filter = ruleFor((is.allowed ? now : old).grants.publish, topic);
        return [
          {
            subject,
            action: 'publish',
            change: is.allowed ? 'gains' : 'loses',
            filter,
            only,
            example: topic,
          },
        ];
      }
      const [rateWas, rateIs] = [rateOf(was), rateOf(is)];
      if (was.allowed && rateWas !== rateIs) {
        const filter = ruleFor(now.grants.publish, topic);
        const words = `${rateWas} becomes ${rateIs}`;
        return [{ subject, action: 'publish', change: 'changes', filter, only: words, example: topic }];
      }
    }
    return [];
  });
}

function publishVariants(sizes: readonly number[]) {
  const bounds = Array.from(new Set(sizes.filter(Number.isFinite))).sort((a, b) => a - b);
  const bytes = [0, ...bounds, ...bounds.map((size) => size + 1)];
  return ([0, 1, 2] as const).flatMap((qos) =>
    [false, true].flatMap((retain) =>
      bytes.map((size) => ({
        only: [
          ...(qos > 0 ? [`QoS ${qos}`] : []),
          ...(retain ? ['retained'] : []),
          ...(size > 0 ? [`${size} bytes`] : []),
        ].join(', '),
        attempt: (topic: string): Attempt => ({ action: 'publish', topic, qos, retain, bytes: size }),
      })),
    ),
  );
}

function rateOf(decision: ReturnType<Judge['decide']>): string {
  if (!('rate' in decision) || decision.rate === undefined) return 'no rate';
  return `${decision.rate.perSecond}/s, ${decision.rate.burst} at once`;
}

function receiveChanges(subject: string, old: Judge, now: Judge): Found[] {
  const filters = [old, now].flatMap(({ grants }) => [...grants.subscribe, ...grants.denySubscribe]);
  return topicsOf(filters).flatMap((topic): Found[] => {
    const [was, is] = [old, now].map((judge) => judge.decide({ action: 'receive', topic }).allowed);
    if (was === is) return [];
    const filter = ruleFor((is ? now : old).grants.subscribe, topic);
    return [{ subject, action: 'receive', change: is ? 'gains' : 'loses', filter, only: '', example: topic }];
  });
}

/** The very filters of the rules, and a topic for each way in which they meet. */
function subscribeChanges(subject: string, old: Judge, now: Judge): Found[] {
  const all = [old, now].flatMap(({ grants }) => [...grants.subscribe, ...grants.denySubscribe]);
  const asked = new Set([...all.map(({ filter }) => filter), ...topicsOf(all)]);
  return Array.from(asked).flatMap((filter): Found[] => {
    for (const qos of [0, 1, 2] as const) {
      const [was, is] = [old, now].map((judge) => judge.decide({ action: 'subscribe', filter, qos }).allowed);
      if (was === is) continue;
      const only = qos === 0 ? '' : `QoS ${qos}`;
      return [
        { subject, action: 'subscribe', change: is ? 'gains' : 'loses', filter, only, example: filter },
      ];
    }
    return [];
  });
}

function topicsOf(granted: readonly { readonly filter: string }[]): string[] {
  const filters = Array.from(new Set(granted.map(({ filter }) => filter)));
  return witnesses(filters).map(({ topic }) => topic);
}

function ruleFor(granted: readonly { readonly filter: string }[], topic: string): string {
  return granted.find(({ filter }) => matches(filter, topic))?.filter ?? topic;
}

function grouped(found: readonly Found[]): PolicyChange[] {
  const groups = new Map<string, Found[]>();
  for (const one of found) {
    const key = JSON.stringify([one.action, one.change, one.filter, one.only]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return Array.from(groups.values(), (ones) => {
    const { example: _example, ...change } = ones[0] as Found;
    return { ...change, examples: ones.slice(0, MAX_EXAMPLES).map(({ example }) => example) };
  });
}
