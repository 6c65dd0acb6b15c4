import { type Policy, writtenOptions } from '@fleetgate/broker/policy';

/** A rule or a deny whose text differs; who gains and loses by it is another question. */
export interface RuleChange {
  readonly change: 'added' | 'removed' | 'changed';
  /** Absent for a deny. */
  readonly scope?: string;
  /** `scope` where it is about a scope without rules. */
  readonly action: 'publish' | 'subscribe' | 'scope';
  /** As written; empty for a scope. */
  readonly filter: string;
  /** Options or scopes of `unless`, in words; empty where there are none. */
  readonly before: string;
  readonly after: string;
}

type Key = Omit<RuleChange, 'change' | 'before' | 'after'>;
/** By its key as text: the options of each rule of that key. */
type Written = Map<string, { readonly key: Key; readonly options: string[] }>;

/** What stands in one policy and not, or otherwise, in the other. The order of rules counts for nothing. */
export function ruleDifference(before: Policy, after: Policy): RuleChange[] {
  const [old, now] = [writtenRules(before), writtenRules(after)];
  const keys = Array.from(new Set([...old.keys(), ...now.keys()]));
  return keys.flatMap((text) => {
    const key = (now.get(text) ?? old.get(text))?.key as Key;
    const was = old.get(text)?.options ?? [];
    const is = now.get(text)?.options ?? [];
    const gone = without(was, is);
    const come = without(is, was);
    return Array.from({ length: Math.max(gone.length, come.length) }, (_, at): RuleChange => {
      const [left, right] = [gone[at], come[at]];
      const change = left === undefined ? 'added' : right === undefined ? 'removed' : 'changed';
      return { change, ...key, before: left ?? '', after: right ?? '' };
    });
  });
}

function writtenRules({ scopes, denyPublish, denySubscribe }: Policy): Written {
  const written: Written = new Map();
  const note = (key: Key, options: string) => {
    const text = JSON.stringify([key.scope ?? null, key.action, key.filter]);
    const known = written.get(text);
    if (known === undefined) written.set(text, { key, options: [options] });
    else known.options.push(options);
  };
  for (const [scope, { publish, subscribe }] of scopes) {
    if (publish.length + subscribe.length === 0) note({ scope, action: 'scope', filter: '' }, '');
    for (const [action, rules] of Object.entries({ publish, subscribe })) {
      for (const { rule } of rules) {
        const options = Object.entries(writtenOptions(rule)).map(([name, value]) => `${name}: ${value}`);
        note({ scope, action: action as Key['action'], filter: rule.written }, options.join(', '));
      }
    }
  }
  for (const [action, denies] of [
    ['publish', denyPublish],
    ['subscribe', denySubscribe],
  ] as const) {
    for (const { rule } of denies) {
      const unless = [...rule.unless].sort().join(', ');
      note({ action, filter: rule.written }, unless === '' ? '' : `unless: ${unless}`);
    }
  }
  return written;
}

/** The items of `all` that are left when each of `others` has taken one like it. */
function without(all: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return all.filter((item) => {
    const at = left.indexOf(item);
    if (at === -1) return true;
    left.splice(at, 1);
    return false;
  });
}
