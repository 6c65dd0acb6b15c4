import type { SigningAlgorithm } from '@fleetgate/shared';
import type { Bounds } from '../report.ts';

/** How the clients of a measure authenticate. */
export type BenchAuth = 'client_secret_basic' | 'private_key_jwt';

/** What is measured of a subject, one after the other. */
export interface Measure {
  readonly name: string;
  readonly algorithm: SigningAlgorithm;
  readonly auth: BenchAuth;
  /** Whether the requests come from one client, or from any of many. */
  readonly clients: 'one' | 'many';
  /** Who takes part. */
  readonly subjects: readonly SubjectName[];
}

export const subjectNames = ['fleetgate', 'oidc-provider'] as const;
export type SubjectName = (typeof subjectNames)[number];

/** oidc-provider keeps its clients in memory, so it is measured with one. */
export const measures: readonly Measure[] = [
  {
    name: 'basic_es256',
    algorithm: 'ES256',
    auth: 'client_secret_basic',
    clients: 'one',
    subjects: subjectNames,
  },
  {
    name: 'basic_eddsa',
    algorithm: 'EdDSA',
    auth: 'client_secret_basic',
    clients: 'one',
    subjects: subjectNames,
  },
  {
    name: 'private_key_jwt_es256',
    algorithm: 'ES256',
    auth: 'private_key_jwt',
    clients: 'one',
    subjects: subjectNames,
  },
  {
    name: 'basic_es256_many',
    algorithm: 'ES256',
    auth: 'client_secret_basic',
    clients: 'many',
    subjects: ['fleetgate'],
  },
];

/**
 * Of each measure: tokens, the slowest hundredth of the requests, the server's time on a processor for each token, which
 * a busy machine changes least, and its memory behind them.
 */
export const figureNames = ['per_second', 'p99_ms', 'cpu_us', 'resident_bytes'] as const;
export type FigureName = (typeof figureNames)[number];

export interface Goal extends Bounds {
  /** Key of the ratios. */
  readonly ratio: string;
}

/** What Fleetgate's figures are to be, as ratios within one run. */
export const goals: readonly Goal[] = [
  { ratio: 'per_second.basic_es256.fleetgate/oidc-provider', atLeast: 3 },
  { ratio: 'per_second.basic_eddsa.fleetgate/oidc-provider', atLeast: 2 },
  { ratio: 'per_second.private_key_jwt_es256.fleetgate/oidc-provider', atLeast: 2 },
  { ratio: 'per_second.fleetgate.basic_es256_many/basic_es256', atLeast: 0.9 },
  { ratio: 'resident_bytes.basic_es256.fleetgate/oidc-provider', atMost: 0.7 },
];
