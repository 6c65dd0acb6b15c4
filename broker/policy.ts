export { compileGrants } from './authorization/compile.ts';
export type { Attempt, Decision, Principal, PublishAttempt } from './authorization/decide.ts';
export { decide, nextRate } from './authorization/decide.ts';
export { examplePolicy } from './authorization/example-policy.ts';
export type { Explanation } from './authorization/explain.ts';
export { explain, formatExplanation, unappliedNotes } from './authorization/explain.ts';
export type { GrantClaims, Grants, ScopeFormat } from './authorization/grants.ts';
export { listGrants } from './authorization/grants.ts';
export type {
  MatrixDeny,
  MatrixRule,
  MatrixScope,
  MatrixValues,
  PolicyMatrix,
} from './authorization/matrix.ts';
export { policyMatrix, writtenOptions } from './authorization/matrix.ts';
export type { Policy } from './authorization/policy.ts';
export { parsePolicy } from './authorization/policy.ts';
export type { PolicyWarning } from './authorization/policy-warnings.ts';
export { policyWarnings } from './authorization/policy-warnings.ts';
export type { DocumentProblem } from './document.ts';
export { DocumentError, readDocument } from './document.ts';
export { checkForEngine } from './engines/check.ts';
export type { EmqxOptions, EmqxRule } from './engines/emqx.ts';
export { emqx } from './engines/emqx.ts';
export type { Engine, EngineName, EngineNote, RuleOption } from './engines/engine.ts';
export { formatEngineNote, ruleOptions } from './engines/engine.ts';
export type { RabbitmqOptions } from './engines/rabbitmq.ts';
export { rabbitmq } from './engines/rabbitmq.ts';
export type { EngineClaim } from './engines/translate.ts';
export { engineClaim } from './engines/translate.ts';
export { schemaProblems } from './schema-problems.ts';
