/** What the Clients page is narrowed by. Empty texts narrow nothing. */
export interface ClientFilters {
  /** What client ids begin with. */
  readonly id: string;
  readonly state: string;
  readonly group: string;
  /** `name=value`, or a name alone. */
  readonly label: string;
  /** One of {@link endings}. */
  readonly ends: string;
  /** One of {@link sightings}. */
  readonly seen: string;
  /** Anything else, as a selector. */
  readonly selector: string;
}

/** Conditions on secrets' ends, in words. */
export const endings: readonly (readonly [condition: string, words: string])[] = [
  ['expires<1d', 'end within a day'],
  ['expires<7d', 'end within a week'],
  ['expires<30d', 'end within 30 days'],
  ['expires<90d', 'end within 90 days'],
  ['expired', 'have ended'],
];

/** Conditions on the last token, in words. */
export const sightings: readonly (readonly [condition: string, words: string])[] = [
  ['last_seen<1d', 'within a day'],
  ['last_seen>1d', 'longer ago than a day'],
  ['last_seen>7d', 'longer ago than a week'],
  ['last_seen>30d', 'longer ago than 30 days'],
  ['last_seen>90d', 'longer ago than 90 days'],
  ['!last_seen', 'never'],
];

export const noFilters: ClientFilters = {
  id: '',
  state: '',
  group: '',
  label: '',
  ends: '',
  seen: '',
  selector: '',
};

/** The filters as one selector; empty where none is set. */
export function selectorOf({ id, state, group, label, ends, seen, selector }: ClientFilters): string {
  return [
    ...(id === '' ? [] : [`client_id=${id.replace(/\*$/, '')}*`]),
    ...(state === '' ? [] : [`state=${state}`]),
    ...(group === '' ? [] : [`group=${group}`]),
    // Also where the label is called as a field.
    ...(label === '' ? [] : [`labels.${label}`]),
    ...[ends, seen, selector].filter((condition) => condition !== ''),
  ].join(',');
}

/** What stands in the hash of the page's address: a filtered list, and the page of it that is shown. */
export interface ListState {
  readonly filters: ClientFilters;
  /** Cursors of the pages up to the one that is shown; empty for the first. */
  readonly cursors: readonly string[];
}

export function readListState(query: string): ListState {
  const given = new URLSearchParams(query);
  const text = (name: keyof ClientFilters) => given.get(name) ?? '';
  return {
    filters: {
      id: text('id'),
      state: text('state'),
      group: text('group'),
      label: text('label'),
      ends: text('ends'),
      seen: text('seen'),
      selector: text('selector'),
    },
    cursors: given.getAll('after'),
  };
}

/** The hash of {@link readListState}; what is not set is not in it. */
export function hashOf({ filters, cursors }: ListState): string {
  const query = new URLSearchParams([
    ...Object.entries(filters).filter(([, value]) => value !== ''),
    ...cursors.map((cursor) => ['after', cursor]),
  ]);
  return query.size === 0 ? '#/clients' : `#/clients?${query}`;
}
