import { type Difference, differenceKey, type PolicyChange, type RuleChange } from '../difference.ts';
import { Table } from '../table.tsx';

/** Who gains and loses what, and below it which rules differ. */
export function DifferenceResult({ answer }: { answer: Difference }) {
  const { by, rules, rules_left_out, changes, changes_left_out, incomplete, looked_at, next_cursor } = answer;
  const count = (change: RuleChange['change']) => rules.filter((rule) => rule.change === change).length;
  const lookedAt =
    by === 'scope'
      ? ''
      : by === 'client'
        ? ` Of these ${looked_at} clients:`
        : ` ${looked_at} clients were looked at${next_cursor === undefined ? ', all there are.' : '; there are more.'}`;
  const left = [
    ...(rules_left_out === 0 ? [] : [`${rules_left_out} rules more differ.`]),
    ...(changes_left_out === 0 ? [] : [`${changes_left_out} changes more are not shown; use a selector.`]),
    ...incomplete.map((what) => `Not looked at whole: ${what}.`),
  ];
  return (
    <div role="status">
      <p>
        {rules.length === 0
          ? 'No rule differs.'
          : `Rules: ${count('added')} added, ${count('removed')} removed, ${count('changed')} changed.`}
        {lookedAt}
        {changes.length === 0 ? ' Nobody gains or loses anything.' : ''}
      </p>
      {left.length === 0 ? null : <p class="failure">{left.join(' ')}</p>}
      {changes.length === 0 ? null : (
        <Table
          rows={changes}
          keyOf={differenceKey}
          columns={[
            {
              name: by,
              cell: ({ subject }) =>
                by === 'client' ? (
                  <a href={`#/clients/${encodeURIComponent(subject)}`}>{subject}</a>
                ) : (
                  subject
                ),
            },
            ...(by === 'group'
              ? [{ name: 'clients', cell: ({ clients }: PolicyChange) => clients, isShort: true }]
              : []),
            { name: 'change', cell: ({ change }) => <Mark change={change} />, isShort: true },
            { name: 'action', cell: ({ action }) => action, isShort: true },
            {
              name: 'topics',
              cell: ({ filter, except }) => (
                <>
                  <code>{filter}</code>
                  {except.length === 0 ? null : ' but '}
                  {except.map((one, at) => (
                    <>
                      {at === 0 ? null : ', '}
                      <code key={one}>{one}</code>
                    </>
                  ))}
                </>
              ),
            },
            { name: 'only', cell: ({ only }) => only },
            { name: 'as', cell: ({ examples }) => <code>{examples[0]}</code> },
          ]}
        />
      )}
      {rules.length === 0 ? null : (
        <details>
          <summary>Rules that differ</summary>
          <Table
            rows={rules.map((rule, at) => ({ ...rule, at }))}
            keyOf={({ at }) => at}
            columns={[
              { name: 'rule', cell: ({ change }) => <Mark change={change} />, isShort: true },
              { name: 'scope', cell: ({ scope }) => scope ?? 'deny' },
              { name: 'action', cell: ({ action }) => (action === 'scope' ? '' : action), isShort: true },
              { name: 'filter', cell: ({ filter }) => <code>{filter}</code> },
              { name: 'was', cell: ({ before }) => before },
              { name: 'is', cell: ({ after }) => after },
            ]}
          />
        </details>
      )}
    </div>
  );
}

const marks = {
  gains: ['+', 'good'],
  added: ['+', 'good'],
  loses: ['−', 'bad'],
  removed: ['−', 'bad'],
  rate: ['~', ''],
  changed: ['~', ''],
} as const;

function Mark({ change }: { change: keyof typeof marks }) {
  const [sign, colour] = marks[change];
  return (
    <span class={`state ${colour}`}>
      {sign} {change}
    </span>
  );
}
