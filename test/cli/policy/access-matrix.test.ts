import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import {
  type AccessMatrix,
  accessMatrix,
  MAX_ROWS,
  MAX_TOPICS,
  type MatrixOptions,
  matrixLines,
} from '../../../cli/policy/access-matrix.ts';
import { matrixPage } from '../../../cli/policy/matrix-html.ts';
import type { RegisteredClient } from '../../../cli/policy/registered-token.ts';
import { each } from './model.ts';

const policy = parsePolicy(
  `version: 1
scopes:
  own: { publish: [ 'd/{client_id}/#' ], subscribe: [ { topic: 'd/{client_id}/+', broader: exact } ] }
  site: { publish: [ 's/{claim:site}' ] }
  read: { subscribe: [ 'd/#' ] }
`,
  'policy.yaml',
);
const fleet = [
  { client_id: 'a', scope: 'own read', group: 'g', metadata: { site: 'north', tier: 'one' } },
  { client_id: 'b', scope: 'own site', group: 'g', metadata: { site: 'south' } },
  { client_id: 'c', scope: 'mqtt:publish:e/+/{client_id}' },
] as RegisteredClient[];

const matrixOf = (options: MatrixOptions, clients = fleet) =>
  accessMatrix(policy, () => each(clients), { tokenClaims: ['site'], ...options });

/** What each line says under each head. */
const matrixRows = (matrix: AccessMatrix) =>
  matrixLines(matrix).map((line) =>
    Object.fromEntries(['name', 'clients', ...matrix.topics].map((head, i) => [head, line[i]])),
  );

test('publish, subscribe and delivery are told apart', async () => {
  const topics = ['d/a/x', 'd/b/x', 'd/#', 's/{claim:site}'];
  const rows = matrixRows(await matrixOf({ by: 'client', topics }));
  expect(rows.map((row) => topics.map((topic) => row[topic]))).toEqual([
    ['PS', 'S', 'S', ''],
    ['', 'PR', '', 'P'],
    ['', '', '', ''],
  ]);
});

test('a claim counts only where tokens have it', async () => {
  const options: MatrixOptions = { by: 'client', topics: ['s/south'], tokenClaims: [] };
  expect(matrixRows(await matrixOf(options)).map((row) => row['s/south'])).toEqual(['', '', '']);
});

test('of a group it is said how many, and clients without one are together', async () => {
  const rows = matrixRows(await matrixOf({ by: 'group', topics: ['d/{client_id}/x', 'd/a/x'] }));
  expect(rows).toEqual([
    { name: '(no group)', clients: 1, 'd/{client_id}/x': '', 'd/a/x': '' },
    { name: 'g', clients: 2, 'd/{client_id}/x': 'PS1R', 'd/a/x': 'P1S1' },
  ]);
});

test('topics that are not given are those of the policy and of direct scopes', async () => {
  const { topics } = await matrixOf({ by: 'client' });
  expect(topics).toEqual(['d/x', 'd/{client_id}/x', 's/{claim:site}', 'e/x/{client_id}']);
});

test('where a deny meets a rule is a topic of its own, with the placeholders of the rule', async () => {
  const denied = parsePolicy(
    `version: 1
scopes: { own: { publish: [ 'd/{client_id}/#' ], subscribe: [ e/# ] } }
deny: [ { publish: [ d/+/firmware/#, x/y ], unless: [ s ] } ]
`,
    'policy.yaml',
  );
  const of = async (scope: string) =>
    matrixRows(
      await accessMatrix(denied, () => each([{ client_id: 'a', scope } as RegisteredClient]), {
        by: 'client',
      }),
    );
  expect(await of('own')).toEqual([
    { name: 'a', clients: 1, 'd/{client_id}/firmware/x': '', 'd/{client_id}/x': 'P', 'e/x': 'S' },
  ]);
  expect(await of('own s')).toMatchObject([{ 'd/{client_id}/firmware/x': 'P' }]);
});

test('a cell names a client for each outcome there is in it', async () => {
  const { rows } = await matrixOf({ by: 'group', topics: ['d/a/x', 'd/{client_id}/y/z'] });
  expect(rows.map(({ name, cells }) => [name, ...cells.map(({ examples }) => examples)])).toEqual([
    ['(no group)', { '-': 'c' }, { '-': 'c' }],
    ['g', { PS: 'a', '-': 'b' }, { PS: 'a', P: 'b' }],
  ]);
});

test('of clients that are registered alike one is decided of, and those that a filter names for themselves', async () => {
  const alike = Array.from({ length: 20 }, (_, i) => ({
    client_id: `box-${i}`,
    group: 'g',
    scope: `own mqtt:publish:e/box-${i}/#`,
  })) as RegisteredClient[];
  const topics = ['d/{client_id}/x', 'e/{client_id}/x', 'd/box-7/x', 'e/box-8/x', 'e/{group}/x'];
  const [row] = matrixRows(await matrixOf({ by: 'group', topics }, alike));
  expect(topics.map((topic) => row?.[topic])).toEqual(['PR', 'P', 'P1R1', 'P1', '']);
  expect((await matrixOf({ by: 'group' }, alike)).topics).toContain('e/{client_id}/x');
});

test('a topic with a place for which the client has no value is none of its', async () => {
  const reader = [{ client_id: 'r', scope: 'read' }] as RegisteredClient[];
  const rows = matrixRows(await matrixOf({ by: 'client', topics: ['d/{group}'] }, reader));
  expect(rows[0]?.['d/{group}']).toBe('');
});

test('what has no room is counted', async () => {
  const many = Array.from({ length: MAX_ROWS + 5 }, (_, i) => ({
    client_id: `box-${i}`,
    scope: i < MAX_TOPICS ? `mqtt:publish:own/n${i}` : 'own',
  })) as RegisteredClient[];
  const { rows, leftOut, topics, topicsLeftOut } = await matrixOf({ by: 'client' }, many);
  expect([rows.length, leftOut, topics.length, topicsLeftOut]).toEqual([MAX_ROWS, 5, MAX_TOPICS, 3]);
});

test('a topic that is none is refused', async () => {
  await expect(matrixOf({ by: 'client', topics: ['a#'] })).rejects.toThrow("not 'a#'");
});

test('each cell of the page has its words, and a colour that its text can be read on', async () => {
  const page = matrixPage(await matrixOf({ by: 'group', topics: ['d/{client_id}/x', '<&\'"/x'] }), '<file>');
  expect(page).toContain('title="g, d/{client_id}/x: 2 of 2 publish, 1 of 2 subscribe, 2 of 2 receive"');
  expect(page).toContain('&lt;&amp;&#39;&quot;/x');
  expect(page).not.toMatch(/<script|<&|<file|https?:/);
  const shares = Array.from(page.matchAll(/--share:([\d.]+)/g), ([, share]) => Number(share));
  expect(shares.length).toBeGreaterThan(0);
  // Worst of both pages: black or white on half of a colour over the other. WCAG 2.1 §1.4.3 wants 4.5.
  for (const colour of Array.from(page.matchAll(/--[prb]:(\d+) (\d+) (\d+)/g), ([, ...parts]) =>
    parts.map(Number),
  )) {
    for (const [text, ground] of [
      [0, 255],
      [255, 18],
    ] as const) {
      for (const share of shares) {
        const mixed = colour.map((part) => part * share + ground * (1 - share));
        expect(contrast([text, text, text], mixed)).toBeGreaterThan(4.5);
      }
    }
  }
});

/** WCAG 2.1, relative luminance and contrast ratio. */
function contrast(one: readonly number[], other: readonly number[]): number {
  const [dark, light] = [one, other]
    .map((colour) => {
      const [r = 0, g = 0, b = 0] = colour.map((part) => {
        const share = part / 255;
        return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    })
    .sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}
