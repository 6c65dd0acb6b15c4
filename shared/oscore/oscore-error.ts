/**
 * Why a message was not taken. `malformed`: it could not be read (4.02 of RFC 8613 §8.2); `replayed`: its sequence
 * number was seen, or is too old to tell (4.01); `not_decrypted`: it was not made with these keys (4.00).
 */
export type OscoreProblem = 'malformed' | 'replayed' | 'not_decrypted';

/** Its message holds nothing of what came. */
export class OscoreError extends Error {
  readonly problem: OscoreProblem;

  constructor(problem: OscoreProblem, message: string) {
    super(message);
    this.name = 'OscoreError';
    this.problem = problem;
  }
}
