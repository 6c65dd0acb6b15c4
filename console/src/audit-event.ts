/** A row of the audit trail. */
export interface AuditEvent {
  readonly sequence: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target?: string;
  readonly result: string;
  readonly address?: string;
  readonly changes?: readonly FieldChange[];
  readonly [field: string]: unknown;
}

export interface FieldChange {
  readonly field: string;
  readonly before?: string;
  readonly after?: string;
  readonly withheld?: boolean;
}

/** What differs between two versions. A value is unset, text, or `false`: the trail does not have it. */
export interface Difference {
  readonly field: string;
  readonly before: string | false | undefined;
  readonly after: string | false | undefined;
}

/** What acts, one behind the other, have changed together. */
export function differenceOf(acts: readonly (readonly FieldChange[])[]): Difference[] {
  const fields = new Map<string, Difference>();
  for (const { field, before, after, withheld } of acts.flat()) {
    const known = fields.get(field);
    fields.set(field, {
      field,
      before: known === undefined ? withheld !== true && before : known.before,
      after: withheld !== true && after,
    });
  }
  return [...fields.values()].filter(({ before, after }) => before !== after || before === false);
}
