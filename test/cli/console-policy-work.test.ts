import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import type { PolicyJob } from '../../cli/console/policy-thread.ts';
import { createPolicyWork, type PolicyWorkOptions } from '../../cli/console/policy-work.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';

function workFor(options: PolicyWorkOptions = {}) {
  const work = createPolicyWork(options);
  onTestFinished(() => work.close());
  return work;
}

const text = (name: string) =>
  `version: 1\nscopes:\n  own: { publish: [ 'd/{client_id}/${name}' ] }\n  s: {}\n`;
const clients = Array.from({ length: 30 }, (_, i) => ({
  client_id: `box-${i}`,
  scope: i === 7 ? 'other' : 'own',
  group: 'g',
  labels: {},
  metadata: {},
}));
const policy = { file: 'policy.yaml', text: text('t') };
const matrix: PolicyJob = { kind: 'matrix', by: 'group', policy, clients, tokenClaims: [] };
const difference = (next: string, by: 'scope' | 'client' | 'group' = 'group'): PolicyJob => ({
  ...{ kind: 'difference', by, policy, clients, tokenClaims: [] },
  next: { file: 'next.yaml', text: next },
});

/** Denies that meet rules in so many ways that no comparison ends in time. */
function endless(word: string): string {
  const scopes = Array.from({ length: 20 }, (_, scope) => {
    const filters = Array.from({ length: 10 }, (_, at) => `'{client_id}/+/${word}${at}/{group}/#'`);
    return `  s${scope}: { publish: [ ${filters.join(', ')} ] }\n`;
  });
  const denies = Array.from(
    { length: 40 },
    (_, at) => `  - { publish: [ '+/x${at}/#' ], unless: [ s${at % 20} ] }\n`,
  );
  return `version: 1\nscopes:\n${scopes.join('')}deny:\n${denies.join('')}`;
}

test('a matrix has of each group how many may, and a client for each outcome', async () => {
  expect(await workFor().ask(matrix)).toMatchObject({
    answer: {
      topics: ['d/{client_id}/t'],
      rows: [
        {
          name: 'g',
          clients: 30,
          cells: [{ publish: 29, subscribe: 0, receive: 0, examples: { P: 'box-0', '-': 'box-7' } }],
        },
      ],
      clients_left_out: 0,
      topics_left_out: 0,
    },
  });
});

test('answers by one policy say so, and those by another one do too', async () => {
  const work = workFor();
  const versions = await Promise.all(
    ['t', 't', 'u'].map(async (name) => {
      const outcome = await work.ask({ ...matrix, policy: { file: 'policy.yaml', text: text(name) } });
      return 'answer' in outcome && 'policy' in outcome.answer ? outcome.answer.policy : undefined;
    }),
  );
  expect(versions[0]).toBe(versions[1]);
  expect(versions[0]).not.toBe(versions[2]);
});

test('a difference has the rules and who gains and loses, and clients that are alike are one', async () => {
  const work = workFor();
  const told = await work.ask(difference(text('u')));
  expect(told).toMatchObject({
    answer: {
      rules: [
        { change: 'removed', scope: 'own', action: 'publish', filter: 'd/{client_id}/t' },
        { change: 'added', scope: 'own', action: 'publish', filter: 'd/{client_id}/u' },
      ],
      changes: [
        { subject: 'group g, own', clients: 29, change: 'loses', filter: 'd/{client_id}/t' },
        { subject: 'group g, own', clients: 29, change: 'gains', filter: 'd/{client_id}/u' },
      ],
    },
  });
  const each = (await work.ask(difference(text('u'), 'client'))) as { answer: { changes: object[] } };
  expect(each.answer.changes).toHaveLength(58);
  expect(each.answer.changes[0]).toMatchObject({ subject: 'box-0', filter: 'd/box-0/t' });
});

test('a policy that is none is refused in the words of the parser, by line', async () => {
  expect(await workFor().ask(difference('version: 1\nscopes:\n  own: { publsh: [ x ] }\n'))).toEqual({
    code: 'policy_invalid',
    words: expect.stringMatching(/^next\.yaml:3:\d+: .*publish/),
  });
});

test('a comparison without end is ended, holds nobody up, and the next one is answered', async () => {
  const work = workFor({ deadlineMs: 6_000 });
  const startMs = performance.now();
  let longestMs = 0;
  const asked = work.ask({ ...difference(endless('b'), 'scope'), policy: { file: 'p', text: endless('a') } });
  const behind = work.ask(matrix);
  for (let lastMs = startMs; performance.now() < startMs + 1_000; lastMs = performance.now()) {
    await sleep(5);
    longestMs = Math.max(longestMs, performance.now() - lastMs);
  }
  // Nearly the deadline, were it compared here.
  expect(longestMs).toBeLessThan(3_000);
  expect(await asked).toMatchObject({ code: 'too_much_work', words: expect.stringContaining('selector') });
  expect(await behind).toHaveProperty('answer');
}, 60_000);

test('who asks while many wait is told so', async () => {
  const work = workFor();
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => work.ask(matrix)));
  expect(outcomes.map((outcome) => 'answer' in outcome)).toEqual([
    ...Array(5).fill(true),
    false,
    false,
    false,
  ]);
  expect(outcomes.at(-1)).toMatchObject({ code: 'busy' });
  expect(await work.ask(matrix)).toHaveProperty('answer');
});

test.each([
  ['ends', 'process.exit(0)', 'internal_error'],
  ['throws', "throw new Error('broken')", 'internal_error'],
  [
    'wants more memory than it may',
    'const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length))',
    'too_much_work',
  ],
])('a thread that %s is an answer, not an end', async (_what, code, told) => {
  const file = join(await temporaryDirectory(), 'thread.mjs');
  writeFileSync(
    file,
    `import { parentPort } from 'node:worker_threads';\nparentPort.on('message', () => { ${code} });\n`,
  );
  const work = workFor({ threadUrl: pathToFileURL(file) });
  expect(await work.ask(matrix)).toMatchObject({ code: told });
});
