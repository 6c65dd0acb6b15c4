import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type ClientFilters, endings, noFilters, sightings } from '../client-filters.ts';

/** The controls of the Clients page. What is chosen is asked for at once, what is typed with Find. */
export function ClientFilterForm({
  filters,
  onFind,
  children,
}: {
  filters: ClientFilters;
  onFind: (filters: ClientFilters) => void;
  children?: ComponentChildren;
}) {
  const [draft, setDraft] = useState(filters);
  // Of a link that was followed, or of the page before.
  useEffect(() => setDraft(filters), [filters]);
  const find = (wanted: ClientFilters) => {
    // At once: what is chosen next goes with these, and not with those before.
    setDraft(wanted);
    onFind(wanted);
  };
  const text = (name: 'id' | 'group' | 'label' | 'selector') => ({
    value: draft[name],
    spellcheck: false,
    onInput: ({ currentTarget }: { currentTarget: HTMLInputElement }) =>
      setDraft({ ...draft, [name]: currentTarget.value }),
  });
  const choice = (name: 'state' | 'ends' | 'seen') => ({
    value: draft[name],
    onChange: ({ currentTarget }: { currentTarget: HTMLSelectElement }) =>
      find(trimmed({ ...draft, [name]: currentTarget.value })),
  });
  return (
    <search>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          find(trimmed(draft));
        }}
      >
        <label>
          Client id begins with
          <input type="search" {...text('id')} />
        </label>
        <label>
          State
          <select {...choice('state')}>
            <option value="">any</option>
            <option value="active">active</option>
            <option value="quarantined">quarantined</option>
          </select>
        </label>
        <label>
          Group
          <input type="search" {...text('group')} />
        </label>
        <label>
          Label, as hw=rev-a
          <input type="search" {...text('label')} />
        </label>
        <label>
          Secrets
          <select {...choice('ends')}>
            <option value="">any</option>
            <Options all={endings} chosen={draft.ends} />
          </select>
        </label>
        <label>
          Last token
          <select {...choice('seen')}>
            <option value="">any</option>
            <Options all={sightings} chosen={draft.seen} />
          </select>
        </label>
        <label>
          Selector, as labels.hw!=rev-a
          <input type="search" {...text('selector')} />
        </label>
        <button type="submit">Find</button>
        <button type="button" class="plain" onClick={() => find(noFilters)}>
          Clear
        </button>
        {children}
      </form>
    </search>
  );
}

/** Also one that only the address has, as `last_seen>14d`. */
function Options({
  all,
  chosen,
}: {
  all: readonly (readonly [condition: string, words: string])[];
  chosen: string;
}) {
  const isKnown = chosen === '' || all.some(([condition]) => condition === chosen);
  return (
    <>
      {all.map(([condition, words]) => (
        <option key={condition} value={condition}>
          {words}
        </option>
      ))}
      {isKnown ? null : <option value={chosen}>{chosen}</option>}
    </>
  );
}

const trimmed = (filters: ClientFilters): ClientFilters => ({
  ...filters,
  id: filters.id.trim(),
  group: filters.group.trim(),
  label: filters.label.trim(),
  selector: filters.selector.trim(),
});
