import { readFileSync } from 'node:fs';
import {
  type Attempt,
  compileGrants,
  type Explanation,
  explain,
  type GrantClaims,
  type MatrixRule,
  type Policy,
  type PolicyMatrix,
  parsePolicy,
  policyMatrix,
  type ScopeFormat,
} from '@fleetgate/broker/policy';
import { isIdentifier, parseScope } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { formatRows, type Row, type RowFormat } from '../output.ts';

/**
 * The policy in a file.
 * @throws FleetgateError `policy_invalid`, a line for each problem
 */
export function loadPolicy(file: string): Policy {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `cannot read the policy ${file} (${(error as NodeJS.ErrnoException).code}); name another file, or with --data ` +
        "the directory of 'fleetgate up', which has one",
    );
  }
  return parsePolicy(text, file);
}

export interface ExplainSubject {
  clientId?: string;
  group?: string;
  scope?: string;
  claim?: readonly string[];
  /** How the issuer of the token writes scopes. Default: named. */
  scopeFormat?: ScopeFormat;
  /** Claims of a token; they stand in for all of the above but `scopeFormat`. */
  claims?: Record<string, unknown>;
}

export interface ExplainAttempt {
  action: string;
  topic: string;
  qos: number;
  retain: boolean;
  bytes: number;
}

/** What the policy says of one attempt of one client, and why; the same code decides in the broker. */
export function explainAttempt(policy: Policy, subject: ExplainSubject, asked: ExplainAttempt): Explanation {
  const { scopeFormat = 'named' } = subject;
  const claims = subjectClaims(subject);
  const principal = Object.freeze({
    clientId: claims.clientId,
    issuer: '',
    tokenId: '',
    expiresAtMs: Number.POSITIVE_INFINITY,
    grants: compileGrants(policy, { ...claims, scopeFormat }),
  });
  const explanation = explain(principal, attemptOf(asked));
  const scope = subject.claims?.['scope'];
  if (scope === undefined || typeof scope === 'string') return explanation;
  const note = 'the claim scope is no string (RFC 9068 §2.2.3): the broker refuses this token at CONNECT';
  return { ...explanation, notes: [note, ...explanation.notes] };
}

/** What every scope of a policy gives, the placeholders filled in that have a value. */
export function matrixOf(policy: Policy, given: Omit<ExplainSubject, 'scope' | 'claims'>): PolicyMatrix {
  const { clientId, group, claim = [] } = given;
  if (clientId !== undefined && !isIdentifier(clientId)) throw new UsageError(CLIENT_ID_WORDS);
  if (group !== undefined && !isIdentifier(group)) {
    throw new UsageError('--group takes [A-Za-z0-9._-]{1,64}');
  }
  return policyMatrix(policy, {
    claims: claimPairs(claim),
    ...(clientId === undefined ? {} : { clientId }),
    ...(group === undefined ? {} : { group }),
  });
}

/** The same as a table or CSV, a line for each rule. */
export function formatMatrix(matrix: PolicyMatrix, format: Exclude<RowFormat, 'json'> = 'table'): string {
  const columns = ['scope', 'action', 'filter', 'options', 'denies', 'example', 'outcome'];
  const rows = matrix.flatMap(({ scope, publish, subscribe }) => {
    const lines = [
      ...publish.map((rule) => ({ scope, action: 'publish', ...ruleCells(rule) })),
      ...subscribe.map((rule) => ({ scope, action: 'subscribe', ...ruleCells(rule) })),
    ];
    return lines.length === 0 ? [{ scope, action: 'none' }] : lines;
  });
  return formatRows(format, rows, { table: columns, csv: columns });
}

function ruleCells({ filter, options, denies, example }: MatrixRule): Row {
  const optionTexts = Object.entries(options).map(([key, value]) => `${key}: ${value}`);
  const denyTexts = denies.map(({ filter, touches, unless }) => {
    const lift = unless.length === 0 ? '' : ` unless ${unless.join(', ')}`;
    return `${filter} (${touches}${lift})`;
  });
  return {
    filter,
    options: optionTexts.join(', '),
    denies: denyTexts.join(', '),
    example: example?.topic ?? '',
    outcome: example?.outcome ?? '',
  };
}

/** What is attempted, of what a command is told. */
export function attemptOf({ action, topic, qos, retain, bytes }: ExplainAttempt): Attempt {
  if (qos !== 0 && qos !== 1 && qos !== 2) throw new UsageError('--qos takes 0, 1 or 2');
  switch (action) {
    case 'publish':
      return { action, topic, qos, retain, bytes };
    case 'subscribe':
      return { action, filter: topic, qos };
    case 'receive':
      return { action, topic };
    default:
      throw new UsageError(`the action is publish, subscribe or receive, not '${action}'`);
  }
}

/** The claims of a token, or those that options give one. */
export function subjectClaims(subject: ExplainSubject): GrantClaims {
  return subject.claims === undefined ? givenClaims(subject) : tokenClaims(subject.claims);
}

function givenClaims({ clientId, group, scope, claim = [] }: ExplainSubject): GrantClaims {
  if (!isIdentifier(clientId)) throw new UsageError(`${CLIENT_ID_WORDS}, or give --token-file`);
  return {
    clientId,
    scopes: parseScope(scope ?? '').map(({ token }) => token),
    claims: claimPairs(claim),
    ...(group === undefined ? {} : { group }),
  };
}

const CLIENT_ID_WORDS = '--client-id takes [A-Za-z0-9._-]{1,64}';

export function claimPairs(pairs: readonly string[]): Record<string, string> {
  const claims = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`--claim takes NAME=VALUE, not '${pair}'`);
    claims.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return Object.fromEntries(claims);
}

function tokenClaims(claims: Record<string, unknown>): GrantClaims {
  const { client_id, sub, scp, scope, group } = claims;
  const clientId = client_id ?? sub;
  if (!isIdentifier(clientId)) throw new UsageError('the token names no client id');
  const given = scp ?? scope;
  const scopes = Array.isArray(given)
    ? given.filter((item) => typeof item === 'string')
    : typeof given === 'string' && given !== ''
      ? given.split(' ')
      : [];
  return { clientId, scopes, claims, ...(typeof group === 'string' ? { group } : {}) };
}
