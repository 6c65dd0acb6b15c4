import { type Attempt, formatExplanation, type Policy } from '@fleetgate/broker/policy';
import { attemptOf } from '../commands/policy.ts';
import type { PlacedExpectation } from './expectations.ts';
import { scopesNeeded } from './needed-scopes.ts';
import { type RegisteredClient, tokenOf } from './registered-token.ts';
import { type Judge, judgeOf, type Subject } from './subject.ts';

/** A client for which it is not as expected. */
export interface TestFailure {
  readonly client: string;
  /** `allow`, or the reason of the refusal. */
  readonly outcome: string;
  /** Scopes of the token. */
  readonly held: readonly string[];
  /** Scopes any of which would allow it. */
  readonly needed: readonly string[];
  /** Which rule decided, or came nearest. */
  readonly trace: readonly string[];
}

export interface TestResult {
  /** `file:line:column`. */
  readonly where: string;
  readonly name: string;
  readonly passed: boolean;
  /** `allow`, `deny`, or the reason of the refusal. */
  readonly expected: string;
  /** Clients it was tried for. */
  readonly clients: number;
  /** Clients for which it is not as expected. */
  readonly failed: number;
  /** The first of them. */
  readonly failures: readonly TestFailure[];
}

/** Failures of one expectation that are explained. */
const MAX_FAILURES = 3;

/** Scopes that are named as needed. */
const MAX_NEEDED = 5;

/**
 * Whether the policy decides as it is expected to. The clients are read once, and not at all where each expectation says
 * its scopes. One that selects nobody is not met.
 */
export async function testPolicy(
  policy: Policy,
  expectations: readonly PlacedExpectation[],
  clients: () => AsyncIterable<RegisteredClient>,
  tokenClaims: readonly string[] = [],
): Promise<TestResult[]> {
  const tallies = expectations.map((expectation) => ({
    expectation,
    clients: 0,
    failed: 0,
    failures: [] as TestFailure[],
  }));
  type Tally = (typeof tallies)[number];
  const note = (tally: Tally, subject: Subject, judge: Judge) => {
    tally.clients += 1;
    const attempt = ownAttempt(tally.expectation, subject);
    const outcome = attempt === undefined ? 'no_rule' : outcomeOf(judge, attempt);
    if (isMet(tally.expectation, outcome)) return;
    tally.failed += 1;
    if (tally.failures.length < MAX_FAILURES)
      tally.failures.push(failureOf(policy, subject, judge, attempt, outcome));
  };

  for (const tally of tallies) {
    const { client: clientId = 'a-client', group, scopes, claims = {} } = tally.expectation;
    if (scopes === undefined) continue;
    const registered = {
      client_id: clientId,
      scope: scopes.join(' '),
      group: group ?? null,
      metadata: claims,
    };
    const subject = tokenOf([policy], Object.keys(claims), registered);
    note(tally, subject, judgeOf(policy, subject));
  }
  const selecting = tallies.filter(({ expectation }) => expectation.scopes === undefined);
  const named = Map.groupBy(selecting, ({ expectation }) => expectation.client);
  if (selecting.length > 0) {
    for await (const client of clients()) {
      const tried = [...(named.get(client.client_id) ?? []), ...(named.get(undefined) ?? [])].filter(
        ({ expectation }) => isSelected(expectation, client),
      );
      if (tried.length === 0) continue;
      const subject = tokenOf([policy], tokenClaims, client);
      const judge = judgeOf(policy, subject);
      for (const tally of tried) note(tally, subject, judge);
    }
  }
  return tallies.map(({ expectation, clients: tried, failed, failures }) => ({
    where: expectation.where,
    name: expectation.name ?? nameOf(expectation),
    passed: tried > 0 && failed === 0,
    expected: expectation.reason ?? expectation.expect,
    clients: tried,
    failed,
    failures,
  }));
}

/** The results for people: each that failed with why, and how many there are of both. */
export function formatResults(results: readonly TestResult[]): string {
  const failed = results.filter(({ passed }) => !passed);
  const lines = failed.flatMap(({ where, name, expected, clients, failed: count, failures }) => [
    `${where}: ${name}: ${
      clients === 0
        ? 'no registered client is so'
        : `expected ${expected}, and it is not so for ${count} of ${clients}`
    }`,
    ...failures.flatMap(({ client, outcome, held, needed, trace }) => [
      `  ${client}: ${outcome}`,
      ...trace.map((line) => `    ${line}`),
      `    held: ${held.join(' ') || 'no scope'}`,
      ...(needed.length === 0 ? [] : [`    needed: ${needed.join(' or ')}`]),
    ]),
  ]);
  return `${[...lines, `${results.length - failed.length} passed, ${failed.length} failed`].join('\n')}\n`;
}

function isSelected({ group, labels = {} }: PlacedExpectation, one: RegisteredClient): boolean {
  return (
    (group === undefined || group === one.group) &&
    Object.entries(labels).every(([name, value]) => one.labels?.[name] === value)
  );
}

function nameOf({ client, group, labels, action, topic }: PlacedExpectation): string {
  const who = [
    ...(client === undefined ? [] : [client]),
    ...(group === undefined ? [] : [`group ${group}`]),
    ...Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`),
  ];
  return [...who, action, topic].join(' ');
}

/** Unset where the topic needs a group and the client has none: there is no such topic to try. */
function ownAttempt(
  { action, topic: written, qos = 0, retain = false, bytes = 0 }: PlacedExpectation,
  { clientId, group }: Subject,
): Attempt | undefined {
  if (written.includes('{group}') && group === undefined) return undefined;
  const topic = written.replaceAll('{client_id}', clientId).replaceAll('{group}', group ?? '');
  return attemptOf({ action, topic, qos, retain, bytes });
}

function outcomeOf(judge: Judge, attempt: Attempt): string {
  const decision = judge.decide(attempt);
  return decision.allowed ? 'allow' : decision.reason;
}

function isMet({ expect, reason }: PlacedExpectation, outcome: string): boolean {
  return (outcome === 'allow') === (expect === 'allow') && (reason === undefined || reason === outcome);
}

function failureOf(
  policy: Policy,
  subject: Subject,
  judge: Judge,
  attempt: Attempt | undefined,
  outcome: string,
): TestFailure {
  const { clientId: client, scopes: held } = subject;
  if (attempt === undefined) return { client, outcome, held, needed: [], trace: ['the client has no group'] };
  return {
    client,
    outcome,
    held,
    needed: outcome === 'allow' ? [] : scopesNeeded(policy, subject, attempt, MAX_NEEDED).needed,
    trace: formatExplanation(judge.explain(attempt)).split('\n'),
  };
}
