import type { Attempt, Decision, Principal } from './decide.ts';
import { decide } from './decide.ts';

export interface Explanation {
  readonly attempt: Attempt;
  readonly decision: Decision;
}

export function explain(principal: Principal, attempt: Attempt, nowMs: number = Date.now()): Explanation {
  return { attempt, decision: decide(principal, attempt, nowMs) };
}

export function formatExplanation(explanation: Explanation): string {
  return explanation.decision.allowed ? 'allowed' : `refused: ${explanation.decision.reason}`;
}
