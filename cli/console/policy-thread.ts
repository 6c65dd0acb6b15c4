/** Runs in a thread of its own: compares and decides for many clients without holding up the broker. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { parsePolicy } from '@fleetgate/broker/policy';
import { FleetgateError } from '@fleetgate/shared';
import { accessMatrix } from '../policy/access-matrix.ts';
import { differenceOfClients, differenceOfEach, differenceOfTokens } from '../policy/difference-report.ts';
import { writtenTopics } from '../policy/matrix-topics.ts';
import { principalsOf } from '../policy/principals.ts';
import type { RegisteredClient } from '../policy/registered-token.ts';
import { ruleDifference } from '../policy/rule-difference.ts';

/** A policy as it crosses to the thread. */
export interface PolicyText {
  /** For messages: problems are told as `file:line:column`. */
  readonly file: string;
  readonly text: string;
}

interface AboutClients {
  /** In force. */
  readonly policy: PolicyText;
  readonly clients: readonly RegisteredClient[];
  /** Fields of metadata that the issuer copies into tokens. */
  readonly tokenClaims: readonly string[];
}

export interface MatrixJob extends AboutClients {
  readonly kind: 'matrix';
  readonly by: 'client' | 'group';
  /** Default: those that the policy and direct scopes of the clients write. */
  readonly topics?: readonly string[];
}

export interface DifferenceJob extends AboutClients {
  readonly kind: 'difference';
  readonly by: 'scope' | 'client' | 'group';
  readonly next: PolicyText;
}

export type PolicyJob = MatrixJob | DifferenceJob;

/** What came of it, or the code and words why nothing did. */
export type PolicyOutcome = { readonly answer: object } | { readonly code: string; readonly words: string };

/** Columns of one matrix: what a page draws and a person reads. */
export const MAX_MATRIX_TOPICS = 100;

/** Cells of one matrix; what has no row is counted. */
const MAX_CELLS = 5_000;

/** Changes in one answer; the others are counted. */
export const MAX_CHANGES = 1_000;

/** @throws what nobody expected */
export async function doPolicyJob(job: PolicyJob): Promise<PolicyOutcome> {
  try {
    return { answer: await (job.kind === 'matrix' ? matrixFor(job) : differenceFor(job)) };
  } catch (error) {
    if (error instanceof FleetgateError) return { code: error.code, words: error.message };
    throw error;
  }
}

async function matrixFor({ policy: given, clients, by, topics, tokenClaims }: MatrixJob): Promise<object> {
  const policy = parsePolicy(given.text, given.file);
  const written = await writtenTopics(policy, each(clients));
  const columns = (topics ?? written).slice(0, MAX_MATRIX_TOPICS);
  const matrix = await accessMatrix(policy, () => each(clients), {
    by,
    topics: columns,
    tokenClaims,
    maxRows: Math.floor(MAX_CELLS / Math.max(1, columns.length)),
  });
  const shown = new Set(columns);
  return {
    by,
    topics: columns,
    rows: matrix.rows,
    clients_left_out: matrix.leftOut,
    topics_left_out: written.filter((topic) => !shown.has(topic)).length,
    policy: versionOf(given),
  };
}

async function differenceFor(job: DifferenceJob): Promise<object> {
  const { clients, by, tokenClaims } = job;
  const before = parsePolicy(job.policy.text, job.policy.file);
  const after = parsePolicy(job.next.text, job.next.file);
  const told =
    by === 'scope'
      ? differenceOfTokens(before, after)
      : by === 'client'
        ? differenceOfEach(before, after, clients, tokenClaims)
        : differenceOfClients(
            before,
            after,
            await principalsOf([before, after], () => each(clients), { tokenClaims, tellsGroups: true }),
            'group',
          );
  const rules = ruleDifference(before, after);
  return {
    by,
    rules: rules.slice(0, MAX_CHANGES),
    rules_left_out: Math.max(0, rules.length - MAX_CHANGES),
    changes: told.changes.slice(0, MAX_CHANGES),
    changes_left_out: Math.max(0, told.changes.length - MAX_CHANGES),
    incomplete: told.incomplete,
    policy: versionOf(job.policy),
  };
}

async function* each<Item>(items: Iterable<Item>): AsyncGenerator<Item> {
  yield* items;
}

/** Differs where the policy does, so that a page never adds up what two policies decide. */
const versionOf = ({ text }: PolicyText) => createHash('sha256').update(text).digest('base64url');

parentPort?.on('message', async (job: PolicyJob) => parentPort?.postMessage(await doPolicyJob(job)));
