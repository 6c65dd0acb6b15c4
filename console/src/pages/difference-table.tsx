import type { Difference } from '../audit-event.ts';
import { Table } from '../table.tsx';

/** Fields with what they were and what they are; words that went and came are marked. */
export function DifferenceTable({ rows }: { rows: readonly Difference[] }) {
  return (
    <Table
      rows={rows}
      keyOf={({ field }) => field}
      columns={[
        { name: 'Field', cell: ({ field }) => <code>{field}</code> },
        { name: 'Before', cell: ({ before, after }) => <Value value={before} other={after} isOld /> },
        { name: 'After', cell: ({ before, after }) => <Value value={after} other={before} /> },
      ]}
    />
  );
}

type Text = string | false | undefined;

function Value({ value, other, isOld = false }: { value: Text; other: Text; isOld?: boolean }) {
  if (value === false) return <span class="who">not kept</span>;
  if (value === undefined) return <span class="who">unset</span>;
  const kept = new Set(typeof other === 'string' ? other.split(' ') : []);
  return (
    <code>
      {value.split(' ').map((word, i) => {
        const text = i === 0 ? word : ` ${word}`;
        if (kept.has(word)) return text;
        return isOld ? <del key={i}>{text}</del> : <ins key={i}>{text}</ins>;
      })}
    </code>
  );
}
