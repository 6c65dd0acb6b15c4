/** What the Audit page is narrowed by, as the admin API calls it. What is not set narrows nothing. */
export type AuditFilter = Readonly<Partial<Record<(typeof fields)[number]['name'], string>>>;

export const fields = [
  { name: 'actor', label: 'Actor, as admin:NAME or client:ID' },
  { name: 'action', label: 'Action, as client.create' },
  { name: 'target', label: 'Target' },
  { name: 'result', label: 'Result: ok, or a code' },
  { name: 'since', label: 'Since, as 2026-01-31T12:00:00Z' },
  { name: 'until', label: 'Until' },
] as const;

/** What stands in the hash of the page's address: what it is narrowed by, and the page of it that is shown. */
export interface AuditState {
  readonly filter: AuditFilter;
  /** Cursors of the pages up to the one that is shown; empty for the first. */
  readonly cursors: readonly string[];
  /** Set where the address asks for what is none of these: whoever wrote it expects fewer events than there are. */
  readonly problem?: string;
}

export function readAuditState(query: string): AuditState {
  const given = new URLSearchParams(query);
  const set = fields.flatMap(({ name }) => {
    const text = given.get(name)?.trim() ?? '';
    return text === '' ? [] : [[name, text]];
  });
  const names: readonly string[] = [...fields.map(({ name }) => name), 'after'];
  const unknown = Array.from(given.keys()).find((name) => !names.includes(name));
  return {
    filter: Object.fromEntries(set) as AuditFilter,
    cursors: given.getAll('after'),
    ...(unknown === undefined
      ? {}
      : {
          problem: `the address asks for '${unknown}'; events are narrowed by ${names.slice(0, -1).join(', ')}`,
        }),
  };
}

/** The hash of {@link readAuditState}; what is not set is not in it. */
export function auditHash({ filter, cursors }: Omit<AuditState, 'problem'>): string {
  const query = new URLSearchParams([
    ...Object.entries(filter),
    ...cursors.map((cursor): [string, string] => ['after', cursor]),
  ]);
  return query.size === 0 ? '#/audit' : `#/audit?${query}`;
}
