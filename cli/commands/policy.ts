import { readFileSync } from 'node:fs';
import {
  type Attempt,
  compileGrants,
  type Explanation,
  explain,
  type GrantClaims,
  type Policy,
  parsePolicy,
} from '@fleetgate/broker';
import { isIdentifier, parseScope } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';

/**
 * The policy in a file.
 * @throws FleetgateError `policy_invalid`, a line for each problem
 */
export function loadPolicy(file: string): Policy {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read the policy ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
  return parsePolicy(text, file);
}

export interface ExplainSubject {
  clientId?: string;
  group?: string;
  scope?: string;
  claim?: readonly string[];
  /** Claims of a token; they stand in for all of the above. */
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
  const claims = subject.claims === undefined ? givenClaims(subject) : tokenClaims(subject.claims);
  const principal = Object.freeze({
    clientId: claims.clientId,
    issuer: '',
    tokenId: '',
    expiresAtMs: Number.POSITIVE_INFINITY,
    grants: compileGrants(policy, claims),
  });
  return explain(principal, attemptOf(asked));
}

function attemptOf({ action, topic, qos, retain, bytes }: ExplainAttempt): Attempt {
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

function givenClaims({ clientId, group, scope, claim = [] }: ExplainSubject): GrantClaims {
  if (!isIdentifier(clientId))
    throw new UsageError('--client-id takes [A-Za-z0-9._-]{1,64}, or give --token-file');
  const claims = new Map<string, string>();
  for (const pair of claim) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`--claim takes NAME=VALUE, not '${pair}'`);
    claims.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return {
    clientId,
    scopes: parseScope(scope ?? '').map(({ token }) => token),
    claims: Object.fromEntries(claims),
    ...(group === undefined ? {} : { group }),
  };
}

function tokenClaims(claims: Record<string, unknown>): GrantClaims {
  const { client_id, sub, scp, scope, group } = claims;
  const clientId = client_id ?? sub;
  if (!isIdentifier(clientId)) throw new UsageError('the token names no client id');
  const scopes = Array.isArray(scp)
    ? scp.filter((item) => typeof item === 'string')
    : String(scope ?? '').split(' ');
  return { clientId, scopes, claims, ...(typeof group === 'string' ? { group } : {}) };
}
