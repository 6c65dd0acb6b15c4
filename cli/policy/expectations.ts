import { readFileSync } from 'node:fs';
import { type Attempt, readDocument } from '@fleetgate/broker/policy';
import { isIdentifier, parseScopeTokens, type ReasonCode, reasonCodes } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';

/** Expectations of one file. Ours: each is decided, and said when it is not met. */
const MAX_EXPECTATIONS = 10_000;

/** Bytes of one file: room for as many. */
const MAX_BYTES = 4_194_304;

const text = { type: 'string', minLength: 1, maxLength: 1024 };
const texts = { type: 'object', additionalProperties: { type: 'string', maxLength: 1024 } };
const schema = {
  type: 'array',
  minItems: 1,
  maxItems: MAX_EXPECTATIONS,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['action', 'topic', 'expect'],
    properties: {
      name: text,
      client: text,
      group: text,
      labels: texts,
      scopes: { type: 'array', maxItems: 128, items: text },
      claims: texts,
      action: { enum: ['publish', 'subscribe', 'receive'] },
      topic: text,
      qos: { enum: [0, 1, 2] },
      retain: { type: 'boolean' },
      bytes: { type: 'integer', minimum: 0 },
      expect: { enum: ['allow', 'deny'] },
      reason: { enum: reasonCodes },
    },
  },
};

/** What a policy is to decide: of a token with `scopes`, or, without, of all registered clients that the rest selects. */
export interface Expectation {
  readonly name?: string;
  readonly client?: string;
  readonly group?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly scopes?: readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
  readonly action: Attempt['action'];
  /** Topic, or filter of a subscribe; may hold `{client_id}` and `{group}` for those of each client. */
  readonly topic: string;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly bytes?: number;
  readonly expect: 'allow' | 'deny';
  readonly reason?: ReasonCode;
}

export interface PlacedExpectation extends Expectation {
  /** `file:line:column`. */
  readonly where: string;
}

/**
 * Reads a file of expectations, YAML.
 * @throws DocumentError `config_invalid`, a line for each problem; UsageError
 */
export function readExpectations(file: string): PlacedExpectation[] {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
  const places: string[] = [];
  const expectations = readDocument<Expectation[]>(content, file, schema, {
    maxBytes: MAX_BYTES,
    bracedWordsAreText: true,
    review(value, review) {
      for (const [at, one] of value.entries()) {
        places.push(review.locate([at]));
        for (const [key, words] of problemsOf(one)) review.report([at, key], words, 'key');
      }
    },
  });
  return expectations.map((one, at) => ({ ...one, where: places[at] ?? file }));
}

/** What a schema cannot say. */
function problemsOf(one: Expectation): [keyof Expectation, string][] {
  const { client, group, labels, scopes, claims } = one;
  const problems: [keyof Expectation, string][] = [];
  for (const [key, value] of Object.entries({ client, group })) {
    if (value !== undefined && !isIdentifier(value)) {
      problems.push([key as keyof Expectation, `'${key}' takes [A-Za-z0-9._-]{1,64}`]);
    }
  }
  if (scopes === undefined) {
    if (client === undefined && group === undefined && labels === undefined) {
      problems.push([
        'action',
        "'scopes' is missing, or 'client', 'group' or 'labels' of registered clients",
      ]);
    }
    if (claims !== undefined)
      problems.push(['claims', "'claims' needs scopes: registered clients have their own"]);
  } else {
    if (labels !== undefined)
      problems.push(['labels', "'labels' selects registered clients, and scopes are given"]);
    try {
      parseScopeTokens(scopes);
    } catch (error) {
      problems.push(['scopes', (error as Error).message]);
    }
  }
  if (one.expect === 'allow' && one.reason !== undefined) {
    problems.push(['reason', "'reason' belongs to expect: deny"]);
  }
  for (const key of ['retain', 'bytes'] as const) {
    if (one[key] !== undefined && one.action !== 'publish')
      problems.push([key, `'${key}' belongs to publish`]);
  }
  if (one.qos !== undefined && one.action === 'receive')
    problems.push(['qos', "'qos' belongs to publish and subscribe"]);
  return problems;
}
