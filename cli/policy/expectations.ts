import { readFileSync } from 'node:fs';
import { type Attempt, formatExplanation, type Policy, readDocument } from '@fleetgate/broker';
import { isIdentifier, reasonCodes } from '@fleetgate/shared';
import { explainAttempt } from '../commands/policy.ts';
import { UsageError } from '../exit.ts';

const text = { type: 'string', minLength: 1 };
const attempt = {
  type: 'object',
  additionalProperties: false,
  required: ['client', 'expect'],
  properties: {
    name: text,
    client: text,
    group: text,
    scope: { anyOf: [{ type: 'string' }, { type: 'array', items: text }] },
    claims: { type: 'object', additionalProperties: text },
    publish: text,
    subscribe: text,
    receive: text,
    qos: { enum: [0, 1, 2] },
    retain: { type: 'boolean' },
    bytes: { type: 'integer', minimum: 0 },
    expect: { enum: ['allow', 'deny', ...reasonCodes] },
  },
};
const schema = {
  type: 'object',
  additionalProperties: false,
  required: ['tests'],
  properties: { tests: { type: 'array', minItems: 1, maxItems: 10_000, items: attempt } },
};

/** What one test of a file says. */
interface Expectation {
  readonly name?: string;
  readonly client: string;
  readonly group?: string;
  readonly scope?: string | readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
  readonly publish?: string;
  readonly subscribe?: string;
  readonly receive?: string;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly bytes?: number;
  /** `allow`, `deny`, or the reason of a refusal. */
  readonly expect: string;
}

export interface PlacedExpectation extends Expectation {
  /** `file:line:column`. */
  readonly where: string;
}

export interface TestResult {
  readonly where: string;
  readonly name: string;
  readonly passed: boolean;
  readonly expected: string;
  /** `allow`, or the reason of the refusal. */
  readonly outcome: string;
  /** Which rule decided, what the token holds, the nearest miss. */
  readonly trace: string;
}

const actions = ['publish', 'subscribe', 'receive'] as const;

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
  const { tests } = readDocument<{ tests: Expectation[] }>(content, file, schema, {
    maxBytes: 4_194_304,
    bracedWordsAreText: true,
    review(value, review) {
      for (const [at, one] of value.tests.entries()) {
        places.push(review.locate(['tests', at]));
        if (actions.filter((action) => one[action] !== undefined).length !== 1) {
          review.report(['tests', at], 'a test needs exactly one of publish, subscribe and receive');
        }
        if (!isIdentifier(one.client as unknown)) {
          review.report(['tests', at, 'client'], 'a client id matches [A-Za-z0-9._-]{1,64}');
        }
        for (const name of ['retain', 'bytes'] as const) {
          if (one[name] === undefined || one.publish !== undefined) continue;
          review.report(['tests', at, name], `'${name}' belongs to publish`, 'key');
        }
      }
    },
  });
  return tests.map((one, at) => ({ ...one, where: places[at] ?? file }));
}

/** Whether the policy decides as it is expected to, of each. */
export function testPolicy(policy: Policy, expectations: readonly PlacedExpectation[]): TestResult[] {
  return expectations.map((one) => {
    const action = actionOf(one);
    const topic = one[action] ?? '';
    const scope = typeof one.scope === 'string' ? one.scope : (one.scope ?? []).join(' ');
    const explanation = explainAttempt(
      policy,
      {
        clientId: one.client,
        scope,
        claim: Object.entries(one.claims ?? {}).map(([name, value]) => `${name}=${value}`),
        ...(one.group !== undefined && { group: one.group }),
      },
      { action, topic, qos: one.qos ?? 0, retain: one.retain ?? false, bytes: one.bytes ?? 0 },
    );
    const { decision } = explanation;
    const outcome = decision.allowed ? 'allow' : decision.reason;
    const passed = one.expect === outcome || (one.expect === 'deny' && !decision.allowed);
    return {
      where: one.where,
      name: one.name ?? `${one.client} ${action} ${topic}`,
      passed,
      expected: one.expect,
      outcome,
      trace: formatExplanation(explanation),
    };
  });
}

function actionOf(one: Expectation): Attempt['action'] {
  return actions.find((action) => one[action] !== undefined) ?? 'publish';
}
