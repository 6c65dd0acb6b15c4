import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { compileGrants, type GrantClaims, type Policy, parsePolicy } from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';
import { type Attempt, decide } from '../../../broker/authorization/decide.ts';
import type { QualityOfService } from '../../../broker/authorization/grants.ts';
import { type MessageBuckets, withinRate } from '../../../broker/message-rate.ts';

/** A policy of the page and the lines that stand below it. */
interface Example {
  readonly heading: string;
  readonly policy: string;
  readonly lines: readonly string[];
}

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
const examples: Example[] = [];
let heading = '';
let policyText = '';
for (const [, title, language, body = ''] of page.matchAll(
  /^#+ (.*)$|^```(\w*(?: \S+)?)\n([\s\S]*?)^```$/gm,
)) {
  if (title !== undefined) heading = title;
  // Files and commands are for the test of the tools.
  else if (language?.includes(' ') || language === 'console') continue;
  else if (language === 'yaml') policyText = body;
  else examples.push({ heading, policy: policyText, lines: body.trimEnd().split('\n') });
}

function readToken(line: string): GrantClaims {
  const parts = line.split(/, (?=group |claim |scope |aif )/).map((part) => /^(\w+) (.*)$/.exec(part) ?? []);
  const partOf = (name: string) => parts.find(([, key]) => key === name)?.[2];
  const claims = Object.fromEntries(
    parts.filter(([, key]) => key === 'claim').map(([, , pair = '']) => pair.split('=') as [string, string]),
  );
  const aif = partOf('aif');
  const group = partOf('group');
  return {
    clientId: partOf('client') as string,
    claims,
    ...(group === undefined ? {} : { group }),
    ...(aif === undefined
      ? { scopes: partOf('scope')?.split(' ') ?? [] }
      : { scopes: [Buffer.from(aif).toString('base64url')], scopeFormat: 'aif' }),
  };
}

const attemptPattern =
  /^(publish|subscribe|receive) (.+?)(?: qos ([012]))?( retained)?(?: (\d+) bytes)?(?: at (\d+) s)? → (\w+)$/;

function readAttempt(line: string): { attempt: Attempt; atMs: number; outcome: string } {
  const [, action, topic = '', qosText = '0', retained, bytes = '0', seconds = '0', outcome = ''] =
    attemptPattern.exec(line) ?? [];
  const qos = Number(qosText) as QualityOfService;
  const atMs = Number(seconds) * 1000;
  if (action === 'subscribe') return { attempt: { action, filter: topic, qos }, atMs, outcome };
  if (action === 'receive') return { attempt: { action, topic }, atMs, outcome };
  if (action !== 'publish') throw new Error(`not an attempt: ${line}`);
  const retain = retained !== undefined;
  return { attempt: { action, topic, qos, retain, bytes: Number(bytes) }, atMs, outcome };
}

/** The lines of an example with the outcomes they really have. */
function run(policy: Policy, lines: readonly string[]): string[] {
  let session: { principal: ReturnType<typeof principalOf>; messageBuckets?: MessageBuckets } | undefined;
  return lines.map((line) => {
    if (line.startsWith('client ')) {
      session = { principal: principalOf(policy, readToken(line)) };
      return line;
    }
    const { attempt, atMs, outcome } = readAttempt(line);
    const decided = decide(session?.principal, attempt, 0);
    const decision =
      decided.allowed && decided.rate !== undefined && attempt.action === 'publish'
        ? withinRate(session, attempt, decided, atMs)
        : decided;
    return line.slice(0, -outcome.length) + (decision.allowed ? 'allowed' : decision.reason);
  });
}

function principalOf(policy: Policy, claims: GrantClaims) {
  const grants = compileGrants(policy, claims);
  return { clientId: claims.clientId, issuer: 'i', tokenId: 't', expiresAtMs: 1, grants };
}

describe('what docs/policy.md says is decided is decided', () => {
  test.each(examples)('$heading', ({ policy, lines }) => {
    expect(run(parsePolicy(policy, 'policy.yaml'), lines)).toEqual(lines);
  });
});

test.each([
  'max_qos:',
  'retain:',
  'max_payload_bytes:',
  'max_messages_per_second:',
  'burst:',
  'broader: filter',
  'broader: exact',
  '{client_id}',
  '{group}',
  '{claim:',
  'unless:',
])('the page has an example of %s', (key) => {
  expect(examples.some(({ policy }) => policy.includes(key))).toBe(true);
});

test.each([
  'allowed',
  'no_rule',
  'denied_by_rule',
  'filter_broader_than_rule',
  'filter_not_exact',
  'qos_too_high',
  'retain_not_allowed',
  'payload_too_large',
  'rate_exceeded',
  'topic_reserved',
])('and one that ends in %s', (outcome) => {
  expect(examples.some(({ lines }) => lines.some((line) => line.endsWith(` → ${outcome}`)))).toBe(true);
});
