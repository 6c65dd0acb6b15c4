import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topicTree } from '../../console/src/topic-tree.ts';

const labels = (topics: string[]) =>
  topicTree(topics).leaves.map(({ topic, label }) => `${label} = ${topic}`);

test('topics stand under what they have in common, and what they have alone is one label', () => {
  const tree = topicTree(['devices/{client_id}/telemetry/x', 'devices/{client_id}/state', 'plant/8/x']);
  expect(tree.leaves).toEqual([
    { topic: 'devices/{client_id}/telemetry/x', label: 'telemetry/x' },
    { topic: 'devices/{client_id}/state', label: 'state' },
    { topic: 'plant/8/x', label: 'plant/8/x' },
  ]);
  expect(tree.branches).toEqual([
    { label: 'devices/{client_id}', path: 'devices/{client_id}', depth: 0, from: 0, to: 2 },
  ]);
  expect(tree.depth).toBe(1);
});

test('a topic that others go on from is a leaf of its own', () => {
  expect(labels(['a', 'a/b', 'a/c/d'])).toEqual(['(itself) = a', 'b = a/b', 'c/d = a/c/d']);
});

test('branches are within each other', () => {
  expect(
    topicTree(['a/b/c', 'a/b/d', 'a/e']).branches.map(({ path, depth, from, to }) => [path, depth, from, to]),
  ).toEqual([
    ['a/b', 1, 0, 2],
    ['a', 0, 0, 3],
  ]);
});

test('slashes in the name of a claim divide no levels, and empty levels are levels', () => {
  expect(
    topicTree(['s/{claim:https://x/y}/a', 's/{claim:https://x/y}/b']).branches.map(({ path }) => path),
  ).toEqual(['s/{claim:https://x/y}']);
  expect(labels(['/a', '/b', 'c//d', 'c/'])).toEqual(['a = /a', 'b = /b', '(itself) = c/', 'd = c//d']);
});

const level = fc.constantFrom('', 'a', 'b', '{client_id}', '$x', '<script>');
const anyTopics = fc.uniqueArray(
  fc
    .array(level, { minLength: 1, maxLength: 5 })
    .map((levels) => levels.join('/'))
    .filter((topic) => topic !== ''),
  { maxLength: 20 },
);

test('each topic is one leaf, and the leaves of a branch are those that begin with it', () => {
  fc.assert(
    fc.property(anyTopics, (topics) => {
      const { leaves, branches, depth } = topicTree(topics);
      expect(leaves.map(({ topic }) => topic).sort()).toEqual([...topics].sort());
      for (const branch of branches) {
        const within = leaves.filter(
          ({ topic }) => topic === branch.path || topic.startsWith(`${branch.path}/`),
        );
        expect(leaves.slice(branch.from, branch.to)).toEqual(within);
        expect(branch.depth).toBeLessThan(depth);
      }
    }),
  );
});
