import type { RegistryPrincipal } from './principals.ts';
import type { Judge } from './subject.ts';

export const findingCodes = [
  'client_id_missing',
  'deny_never_applies',
  'first_level_wildcard',
  'no_effect',
  'not_looked_at',
  'other_device_subtree',
  'reaches_everything',
  'rule_unused',
  'scope_unknown',
  'shared_writable_topic',
] as const;
export type FindingCode = (typeof findingCodes)[number];

/** Something in a policy, or in how clients are registered, that is hardly meant. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: 'error' | 'warning';
  /** `file:line:column`, or the scope as it is registered. */
  readonly where: string;
  readonly words: string;
  readonly fix: string;
  /** Some of the clients it is about. */
  readonly clients: readonly string[];
}

/** A principal with what the policy grants it. */
export interface Judged {
  readonly principal: RegistryPrincipal;
  readonly judge: Judge;
}

/** A few clients, each once. */
export const someClients = (clients: Iterable<string>) => Array.from(new Set(clients)).slice(0, 3);
