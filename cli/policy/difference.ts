import type { Policy } from '@fleetgate/broker/policy';
import { covers, overlaps } from '@fleetgate/shared';
import { optionWords, type PublishOption, publishOptions } from './publish-options.ts';
import { broadest, MAX_EXAMPLES, type Region, regionsOf } from './region.ts';
import { type Judge, judgeOf, type Subject } from './subject.ts';
import { witnessRequests } from './witness-requests.ts';
import { type Witness, witnesses } from './witnesses.ts';

/** Something that a subject may do under one policy and not, or not at the same rate, under the other. */
export interface PolicyChange extends Region {
  readonly action: 'publish' | 'subscribe' | 'receive';
  readonly change: 'gains' | 'loses' | 'rate';
  /** How it is so: a QoS, retain, a size, a rate. Empty where it is so of any. */
  readonly only: string;
}

/** What a subject gains and loses by a new policy, decided as the broker decides and not by the text. */
export function policyDifference(before: Policy, after: Policy, subject: Subject): PolicyChange[] {
  const [old, now] = [judgeOf(before, subject), judgeOf(after, subject)];
  const [publish, subscribe] = [signature(old, 'publish'), signature(old, 'subscribe')];
  return [
    ...(publish === signature(now, 'publish') ? [] : publishChanges(old, now)),
    ...(subscribe === signature(now, 'subscribe')
      ? []
      : [...receiveChanges(old, now), ...subscribeChanges(old, now)]),
  ];
}

/** Equal where all that decides is equal, so that most subjects need no further look. */
function signature({ grants }: Judge, side: 'publish' | 'subscribe'): string {
  const deny = side === 'publish' ? grants.denyPublish : grants.denySubscribe;
  const rules = grants[side].map(({ filter, rule }) => ({ filter, ...rule, source: '', written: '' }));
  return JSON.stringify([rules, deny.map(({ filter }) => filter)], (_key, value: unknown) =>
    value === Number.POSITIVE_INFINITY ? 'any' : value,
  );
}

function publishChanges(old: Judge, now: Judge): PolicyChange[] {
  const judges = [old, now];
  const options = publishOptions(
    judges.flatMap(({ grants }) => grants.publish.map(({ rule }) => rule.maxPayloadBytes)),
  );
  return changesOf('publish', filtersOf(judges, 'publish', 'denyPublish'), (topic) => {
    const kinds = new Map<
      string,
      { change: PolicyChange['change']; words: string; options: PublishOption[] }
    >();
    for (const option of options) {
      const attempt = option.attempt(topic);
      const [was, is] = [old.decide(attempt).allowed, now.decide(attempt).allowed];
      const rates = [old.rates(attempt), now.rates(attempt)].map((rate) => rate || 'no rate');
      if (was === is && (!was || rates[0] === rates[1])) continue;
      const change = was === is ? 'rate' : is ? 'gains' : 'loses';
      const words = was === is ? `${rates[0]} becomes ${rates[1]}` : '';
      const kind = kinds.get(change + words) ?? { change, words, options: [] };
      kind.options.push(option);
      kinds.set(change + words, kind);
    }
    return Array.from(kinds.values(), ({ change, words, options: some }) => {
      const limits = optionWords(some, options);
      return { change, only: [limits, words].filter((part) => part !== '').join(': ') };
    });
  });
}

function receiveChanges(old: Judge, now: Judge): PolicyChange[] {
  return changesOf('receive', filtersOf([old, now], 'subscribe', 'denySubscribe'), (topic) => {
    const [was, is] = [old, now].map((judge) => judge.decide({ action: 'receive', topic }).allowed);
    return was === is ? [] : [{ change: is ? 'gains' : 'loses', only: '' }];
  });
}

/** The rules of both, and the denies that meet one. */
function filtersOf(
  judges: readonly Judge[],
  side: 'publish' | 'subscribe',
  denySide: 'denyPublish' | 'denySubscribe',
): string[] {
  const rules = judges.flatMap(({ grants }) => grants[side].map(({ filter }) => filter));
  const denies = judges
    .flatMap(({ grants }) => grants[denySide].map(({ filter }) => filter))
    .filter((deny) => rules.some((rule) => overlaps(rule, deny)));
  return Array.from(new Set([...rules, ...denies]));
}

type Kind = Pick<PolicyChange, 'change' | 'only'>;

/** The changes of one action, each with the topics of which it is so. */
function changesOf(
  action: PolicyChange['action'],
  filters: readonly string[],
  kindsOf: (topic: string) => Kind[],
): PolicyChange[] {
  const all = witnesses(filters);
  const found = new Map<string, { kind: Kind; ones: Set<Witness> }>();
  for (const witness of all) {
    for (const kind of kindsOf(witness.topic)) {
      const key = `${kind.change} ${kind.only}`;
      const known = found.get(key) ?? { kind, ones: new Set() };
      known.ones.add(witness);
      found.set(key, known);
    }
  }
  return Array.from(found.values()).flatMap(({ kind, ones }) =>
    regionsOf(
      filters,
      Array.from(ones),
      all.filter((one) => !ones.has(one)),
    ).map((region) => ({ action, ...kind, ...region })),
  );
}

/** Of requests that are covered by another one of the same kind only some are named, as examples. */
function subscribeChanges(old: Judge, now: Judge): PolicyChange[] {
  const found = new Map<string, { kind: Kind; requests: string[] }>();
  for (const filter of witnessRequests(filtersOf([old, now], 'subscribe', 'denySubscribe'))) {
    const qualities = ([0, 1, 2] as const).map((qos) => {
      const [was, is] = [old, now].map((judge) => judge.decide({ action: 'subscribe', filter, qos }).allowed);
      return { qos, change: was === is ? undefined : is ? ('gains' as const) : ('loses' as const) };
    });
    for (const change of ['gains', 'loses'] as const) {
      const some = qualities.filter((one) => one.change === change).map(({ qos }) => qos);
      if (some.length === 0) continue;
      const only = some.length === 3 ? '' : `QoS ${some.join(', ')}`;
      const known = found.get(change + only) ?? { kind: { change, only }, requests: [] };
      known.requests.push(filter);
      found.set(change + only, known);
    }
  }
  return Array.from(found.values()).flatMap(({ kind, requests }) =>
    broadest(requests).map((filter) => ({
      action: 'subscribe' as const,
      ...kind,
      filter,
      except: [],
      examples: [filter, ...requests.filter((one) => one !== filter && covers(filter, one))].slice(
        0,
        MAX_EXAMPLES,
      ),
    })),
  );
}
