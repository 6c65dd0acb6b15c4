import { expect, test } from 'vitest';
import { addedDifference, type Difference } from '../../console/src/difference.ts';
import { addedMatrix, cellWords, type MatrixAnswer } from '../../console/src/matrix.ts';

const asked = { by: 'group', selector: '', topics: undefined } as const;
const matrix = (name: string, publish: number, next?: string): MatrixAnswer => ({
  topics: ['t'],
  rows: [
    {
      name,
      clients: 10,
      cells: [
        {
          publish,
          subscribe: 0,
          receive: 0,
          examples: publish === 10 ? { P: `${name}-p` } : { '-': `${name}-n` },
        },
      ],
    },
  ],
  clients_left_out: 1,
  topics_left_out: 2,
  looked_at: 11,
  policy: 'p',
  ...(next === undefined ? {} : { next_cursor: next }),
});

test('a matrix of more clients is the sum, with an example for each outcome of either', () => {
  const first = addedMatrix(asked, matrix('g', 10, 'c'), undefined);
  expect(first).toMatchObject({ lookedAt: 11, clientsLeftOut: 1, topicsLeftOut: 2, next: 'c' });
  const both = addedMatrix(asked, matrix('g', 0), first);
  expect(both).toMatchObject({ lookedAt: 22, clientsLeftOut: 2, topicsLeftOut: 2, next: undefined });
  expect(both.rows).toHaveLength(1);
  expect(both.rows[0]?.clients).toBe(20);
  expect(both.rows[0]?.cells.get('t')).toMatchObject({ publish: 10, examples: { P: 'g-p', '-': 'g-n' } });
  expect(addedMatrix(asked, matrix('a', 3), both).rows.map(({ name }) => name)).toEqual(['a', 'g']);
});

test('a cell is said in words', () => {
  const cell = { publish: 3, subscribe: 0, receive: 0, examples: {} };
  expect(cellWords(cell, 3)).toBe('may publish');
  expect(cellWords({ ...cell, subscribe: 1, receive: 2 }, 3)).toBe(
    'may publish, 1 of 3 may subscribe, 2 of 3 may be delivered what is published there',
  );
  expect(cellWords({ ...cell, publish: 0 }, 3)).toBe('nothing');
});

test('changes of a group that are the same are counted together, others are not', () => {
  const change = (filter: string, clients: number) =>
    ({
      subject: 'group g',
      clients,
      change: 'gains',
      action: 'publish',
      filter,
      except: [],
      only: '',
      examples: [],
    }) as const;
  const one: Difference = {
    ...{ by: 'group', rules: [], rules_left_out: 0, changes_left_out: 1, incomplete: ['3 clients'] },
    ...{ policy: 'p', policy_file: 'f', looked_at: 5, changes: [change('a', 2), change('b', 1)] },
  };
  const both = addedDifference(one, { ...one, incomplete: [], changes: [change('a', 3)] });
  expect(both.changes.map(({ filter, clients }) => [filter, clients])).toEqual([
    ['a', 5],
    ['b', 1],
  ]);
  expect(both).toMatchObject({ looked_at: 10, changes_left_out: 2, incomplete: ['3 clients'] });
});
