import { useEffect, useState } from 'preact/hooks';
import { AccessLegend, AccessMap } from '../access-map.tsx';
import { call } from '../api.ts';
import {
  type AccessRow,
  addedMatrix,
  cellWords,
  type Matrix,
  type MatrixAnswer,
  type MatrixAsked,
} from '../matrix.ts';
import { Empty, Failure } from '../parts.tsx';
import { Pager, Table } from '../table.tsx';
import { topicTree } from '../topic-tree.ts';
import { MatrixCell } from './matrix-cell.tsx';

/** Rows that are drawn; of more the page says so. */
const MAX_DRAWN = 200;

/** Who may do what where: groups, or the clients of one page, by the topics of the policy. */
export function TopicMatrix() {
  const [shown, setShown] = useState<Matrix | undefined>();
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const [below, setBelow] = useState('');
  const [open, setOpen] = useState<{ row: AccessRow; topic: string } | undefined>();
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(true);
  const [by, setBy] = useState<MatrixAsked['by']>('group');
  const [selector, setSelector] = useState('');

  async function look(asked: MatrixAsked, cursor?: string, before?: Matrix): Promise<void> {
    setError(undefined);
    setBusy(true);
    try {
      const topics = before?.columns ?? asked.topics;
      const { body } = await call<MatrixAnswer>('POST', '/matrix', {
        ...{ by: asked.by, selector: asked.selector },
        ...(topics === undefined ? {} : { topics }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      // What two policies decide is not added up.
      if (before !== undefined && body.policy !== before.policy) {
        setBelow('');
        await look(asked);
        return;
      }
      setShown(addedMatrix(asked, body, before));
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  function begin(asked: MatrixAsked): void {
    setCursors([]);
    setBelow('');
    void look(asked);
  }

  useEffect(() => void look({ by: 'group', selector: '', topics: undefined }), []);

  const tree = topicTree(shown?.columns ?? []);
  const columns = tree.leaves
    .map(({ topic }) => topic)
    .filter((topic) => below === '' || `${topic}/` === below || topic.startsWith(below));
  return (
    <section class="card" aria-label="Matrix" aria-busy={isBusy}>
      <h2>Who may do what where</h2>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          const fields = new FormData(event.currentTarget);
          const topics = String(fields.get('topics'))
            .split('\n')
            .map((line) => line.trim())
            .filter((line) => line !== '');
          begin({
            by,
            selector: selector.trim(),
            topics: topics.length === 0 ? undefined : topics,
          });
        }}
      >
        <label>
          A row for each
          <select
            value={by}
            onChange={({ currentTarget }) => setBy(currentTarget.value as MatrixAsked['by'])}
          >
            <option>group</option>
            <option>client</option>
          </select>
        </label>
        <label>
          Of the clients (selector; empty: all)
          <input
            value={selector}
            onInput={({ currentTarget }) => setSelector(currentTarget.value)}
            spellcheck={false}
          />
        </label>
        <label>
          Topics, one a line (empty: those of the policy)
          <textarea name="topics" rows={1} spellcheck={false} />
        </label>
        <button type="submit" disabled={isBusy}>
          Show
        </button>
      </form>
      <Failure error={error} />
      {shown === undefined ? null : (
        <>
          {tree.branches.length < 2 ? null : (
            <label class="below">
              Topics below
              <select value={below} onChange={({ currentTarget }) => setBelow(currentTarget.value)}>
                <option value="">all</option>
                {[...tree.branches]
                  .sort((one, other) => (one.path < other.path ? -1 : 1))
                  .map(({ path }) => (
                    <option key={path} value={`${path}/`}>
                      {path}
                    </option>
                  ))}
              </select>
            </label>
          )}
          {shown.rows.length === 0 || columns.length === 0 ? (
            <Empty>
              {shown.rows.length === 0 ? 'No client is registered that fits.' : 'The policy names no topic.'}
            </Empty>
          ) : (
            <>
              <AccessMap
                rows={shown.rows.slice(0, MAX_DRAWN)}
                topics={columns}
                label={`Access by ${shown.by} and topic`}
                onOpen={(row, topic) => setOpen({ row, topic })}
              />
              <AccessLegend />
              <AsTable rows={shown.rows.slice(0, MAX_DRAWN)} columns={columns} by={shown.by} />
            </>
          )}
          <Extent shown={shown} />
          {shown.by === 'client' ? (
            <Pager
              cursors={cursors}
              next={shown.next}
              onChange={(next) => {
                setCursors(next);
                void look(shown, next.at(-1));
              }}
            />
          ) : shown.next === undefined ? null : (
            <p class="more">
              <button
                type="button"
                class="plain"
                disabled={isBusy}
                onClick={() => void look(shown, shown.next, shown)}
              >
                Look at more clients
              </button>
            </p>
          )}
        </>
      )}
      {open === undefined || shown === undefined ? null : (
        <MatrixCell
          {...open}
          by={shown.by}
          onClose={() => setOpen(undefined)}
          onClients={(group) => {
            setOpen(undefined);
            const narrowed = [
              group === '(no group)' ? '!group' : `group=${group}`,
              ...(shown.selector === '' ? [] : [shown.selector]),
            ].join(',');
            setBy('client');
            setSelector(narrowed);
            begin({ by: 'client', selector: narrowed, topics: shown.topics });
          }}
        />
      )}
    </section>
  );
}

/** What was looked at, and what was not. */
function Extent({ shown }: { shown: Matrix }) {
  const { by, rows, lookedAt, next, clientsLeftOut, topicsLeftOut, topics } = shown;
  const words = [
    by === 'client'
      ? `${lookedAt} clients.`
      : `${lookedAt} clients were looked at${next === undefined ? ', all there are.' : '; there are more.'}`,
    ...(clientsLeftOut === 0
      ? []
      : [`${clientsLeftOut} of them are in groups without a row here; use a selector.`]),
    ...(rows.length > MAX_DRAWN
      ? [`${rows.length - MAX_DRAWN} groups more are not drawn; use a selector.`]
      : []),
    ...(topicsLeftOut === 0 || topics !== undefined
      ? []
      : [`${topicsLeftOut} topics more of the policy and of direct scopes have no column; name them above.`]),
    'A level x stands for a wildcard; placeholders are those of each client.',
  ];
  return (
    <p class="who" role="status">
      {words.join(' ')}
    </p>
  );
}

/** The same for who reads rather than looks. */
function AsTable({
  rows,
  columns,
  by,
}: {
  rows: readonly AccessRow[];
  columns: readonly string[];
  by: string;
}) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>As a table</summary>
      {isOpen ? (
        <Table
          rows={rows}
          keyOf={({ name }) => name}
          columns={[
            { name: by, cell: ({ name }: AccessRow) => name },
            { name: 'clients', cell: ({ clients }: AccessRow) => clients },
            ...columns.map((topic) => ({
              name: topic,
              cell: ({ cells, clients }: AccessRow) => cellWords(cells.get(topic), clients),
            })),
          ]}
        />
      ) : null}
    </details>
  );
}
