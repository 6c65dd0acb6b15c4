export type By = 'scope' | 'group' | 'client';

export interface RuleChange {
  readonly change: 'added' | 'removed' | 'changed';
  readonly scope?: string;
  readonly action: string;
  readonly filter: string;
  readonly before: string;
  readonly after: string;
}

export interface PolicyChange {
  readonly subject: string;
  readonly clients?: number;
  readonly change: 'gains' | 'loses' | 'rate';
  readonly action: string;
  readonly filter: string;
  readonly except: readonly string[];
  readonly only: string;
  readonly examples: readonly string[];
}

export interface Difference {
  readonly by: By;
  readonly rules: readonly RuleChange[];
  readonly rules_left_out: number;
  readonly changes: readonly PolicyChange[];
  readonly changes_left_out: number;
  readonly incomplete: readonly string[];
  readonly policy_file: string;
  /** Of the policy in force. */
  readonly policy: string;
  /** Absent by scope. */
  readonly looked_at?: number;
  readonly next_cursor?: string;
}

/** Clients of the same group that change alike are counted together. */
export function addedDifference(before: Difference, next: Difference): Difference {
  const changes = new Map(before.changes.map((one) => [differenceKey(one), one]));
  for (const one of next.changes) {
    const known = changes.get(differenceKey(one));
    changes.set(
      differenceKey(one),
      known === undefined ? one : { ...known, clients: (known.clients ?? 0) + (one.clients ?? 0) },
    );
  }
  return {
    ...next,
    changes: [...changes.values()],
    changes_left_out: before.changes_left_out + next.changes_left_out,
    incomplete: [...before.incomplete, ...next.incomplete],
    looked_at: (before.looked_at ?? 0) + (next.looked_at ?? 0),
  };
}

export const differenceKey = ({ subject, change, action, filter, except, only }: PolicyChange) =>
  JSON.stringify([subject, change, action, filter, except, only]);
