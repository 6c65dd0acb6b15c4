export type { ClaimNames, ClaimProfile, TrustedKeys, VerifierStats } from '@fleetgate/verifier';
export type { AuditEvent, AuditEventName } from './audit.ts';
export { compileGrants } from './authorization/compile.ts';
export type { Attempt, Decision, Principal, PublishAttempt } from './authorization/decide.ts';
export { decide, nextRate } from './authorization/decide.ts';
export { examplePolicy } from './authorization/example-policy.ts';
export type { Explanation } from './authorization/explain.ts';
export { explain, formatExplanation } from './authorization/explain.ts';
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
export type { ClusterOptions } from './cluster/options.ts';
export { databaseProblem } from './cluster/options.ts';
export type { ClusterSession, ClusterSessionDetail, ClusterSessions } from './cluster/session-list.ts';
export { openClusterSessions } from './cluster/session-list.ts';
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
export type { AedesHooks } from './hooks.ts';
export type { IntrospectionSettings } from './introspection/introspection.ts';
export { addressRangeProblem } from './listener/address-ranges.ts';
export type { ListenerOptions } from './listener/listener.ts';
export type { TlsFiles, TlsMaterial } from './listener/tls-files.ts';
export { loadTlsFiles } from './listener/tls-files.ts';
export type { LiveSession } from './live-sessions.ts';
export type { BrokerState, DecidedAction, Observer, Outcome, TokenStats } from './observer.ts';
export type { ClientIdBinding, Limits, Logger, PluginOptions } from './options.ts';
export { defaultLimits } from './options.ts';
export type { Fleetgate } from './plugin.ts';
export { fleetgate } from './plugin.ts';
export type { Protocol } from './protocol.ts';
export type { Refusal, RefusalReason } from './refusal.ts';
export type { RemoteRevocationsOptions } from './remote-revocations.ts';
export { remoteRevocations } from './remote-revocations.ts';
export type { DecisionEvent } from './reports.ts';
export type { Revocation } from './revocation.ts';
export type { RevocationFeedOptions, RevocationListener, RevocationSource } from './revocation-source.ts';
export { schemaProblems } from './schema-problems.ts';
export type { BrokerOptions, RunningBroker } from './server.ts';
export { startBroker } from './server.ts';
export type { TokenExplanation } from './token-explanation.ts';
export type { TrustedIssuer } from './trusted-issuer.ts';
export { checkTrustedIssuer } from './trusted-issuer.ts';
