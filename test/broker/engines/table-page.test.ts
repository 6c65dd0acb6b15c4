import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  checkForEngine,
  type Engine,
  emqx,
  engineClaim,
  parsePolicy,
  type RuleOption,
  rabbitmq,
  ruleOptions,
} from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';

// The table "What cannot be said" of docs/engines.md, row by row.

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/engines.md'), 'utf8');
const section = page.split(/^## /m).find((text) => text.startsWith('What cannot be said\n')) ?? '';
const rows = Array.from(section.matchAll(/^\| (.+) \| (.*) \| (.*) \|$/gm), ([, ...cells]) => cells)
  .filter(([first]) => !first?.startsWith('---') && first !== 'in the policy, or in a direct scope')
  .map(([first = '', ...cells]) => [first, cells] as const);

interface Rule {
  publish?: unknown[];
  subscribe?: unknown[];
  deny?: object[];
  scopes?: string[];
}
const publish = (...rules: unknown[]): Rule => ({ publish: rules });
const subscribe = (...rules: unknown[]): Rule => ({ subscribe: rules });

/** Policies and tokens that are of a row. */
const examples: ReadonlyMap<string, readonly Rule[]> = new Map([
  ['publish `a/b`, `a/#`', [publish('a/b', 'a/#')]],
  ['publish with `+`, publish `#`', [publish('a/+/b'), publish('#'), publish('+/#')]],
  ['subscribe `a/b`', [subscribe('a/b')]],
  ['subscribe `a/#`', [subscribe('a/#')]],
  ['subscribe `a/+`, `a/+/#`', [subscribe('a/+'), subscribe('a/+/#')]],
  ['subscribe `a/+/b`, `+/b`, `#`', [subscribe('a/+/b'), subscribe('+/b'), subscribe('#')]],
  ['`broader: exact`', ['a/+', 'a/#', '#'].map((topic) => subscribe({ topic, broader: 'exact' }))],
  ['`broader: filter`', [subscribe({ topic: 'a/#', broader: 'filter' })]],
  ['deny of a publish, of a part of a rule', [{ publish: ['a/#'], deny: [{ publish: ['a/b'] }] }]],
  ['deny of a subscribe, of a part of a rule', [{ subscribe: ['a/#'], deny: [{ subscribe: ['a/b'] }] }]],
  [
    'deny that takes in all of a rule, or nothing',
    [{ publish: ['a/b', 'c'], subscribe: ['c'], deny: [{ publish: ['a/#'], subscribe: ['b/#'] }] }],
  ],
  ['`max_qos`, `retain`', [publish({ topic: 'a', max_qos: 1 }), publish({ topic: 'a', retain: false })]],
  [
    '`max_payload_bytes`, `max_messages_per_second`',
    [publish({ topic: 'a', max_payload_bytes: 9 }), publish({ topic: 'a', max_messages_per_second: 1 })],
  ],
  [
    'a level with `.` or `*`, also by a client id or another value',
    [publish('a/b.c'), subscribe('*/a'), { scopes: ['mqtt:publish:v1.2/x'] }],
  ],
  ['a topic that begins with `$`', [publish('$app/x'), subscribe('$app/#')]],
  [
    'a topic that begins with `eq ` or holds `${`',
    [publish('eq a'), subscribe('eq a/#'), { scopes: [`mqtt:publish:a/\${clientid}`] }],
  ],
  [
    'a scope `rabbitmq.read:…`, `write:`, `configure:`, `tag:` of the client',
    ['read:*/*', 'write:*/*/*', 'configure:*/*', 'tag:administrator'].map((own) => ({
      scopes: [`rabbitmq.${own}`],
    })),
  ],
]);

const engines = [
  (acceptNotEnforced: readonly RuleOption[]) => rabbitmq({ resourceServerId: 'rabbitmq', acceptNotEnforced }),
  (acceptNotEnforced: readonly RuleOption[]) => emqx({ acceptNotEnforced }),
];

/** What becomes of a rule, by its notes; those of a policy without a client are the same. */
function outcomeOf(
  engine: Engine,
  { publish = [], subscribe = [], deny = [], scopes = ['s'] }: Rule,
): string {
  const text = JSON.stringify({ version: 1, scopes: { s: { publish, subscribe } }, deny });
  const policy = parsePolicy(text, 'policy.yaml');
  const claim = engineClaim(engine, policy, { clientId: 'a', claims: {}, scopes });
  const notes = 'refused' in claim ? claim.refused : claim.notes;
  if (scopes.includes('s')) {
    expect(checkForEngine(engine, policy).map(({ kind, words }) => [kind, words])).toEqual(
      expect.arrayContaining(notes.map(({ kind, words }) => [kind, words])),
    );
  }
  const [note] = notes;
  if (note === undefined) return 'the same';
  if (note.kind !== 'narrowed') return note.kind;
  return note.words.includes('very filter') ? 'this very filter' : 'as `refuse`';
}

describe('what docs/engines.md says cannot be said', () => {
  test.each(rows)('%s', (first, cells) => {
    const rules = examples.get(first) ?? [];
    expect(rules).not.toEqual([]);
    for (const [index, engine] of engines.entries()) {
      const cell = cells[index] ?? '';
      for (const rule of rules) {
        const outcome = outcomeOf(engine([]), rule);
        expect([first, cell.slice(0, outcome.length)]).toEqual([first, outcome]);
        if (cell.includes('accepted')) expect(outcomeOf(engine(ruleOptions), rule)).toBe('not_enforced');
      }
    }
  });

  test('no example is without a row', () => {
    expect(rows.map(([first]) => first).sort()).toEqual([...examples.keys()].sort());
  });
});
