export { AccessToken } from './access-token.ts';
export { type Agent, type AgentOptions, createAgent, type PublishOptions } from './agent.ts';
export type { AgentEvents, AgentPhase } from './agent-events.ts';
export type { IncomingMessage, QoS } from './connection.ts';
export {
  askToEnroll,
  type DeviceSeed,
  deriveDeviceKey,
  type EnrollmentAnswer,
  type EnrollmentKey,
  type EnrollmentQuestion,
  makeSeed,
} from './enrollment.ts';
export { EnrollmentRefusedError } from './enrollment-refused.ts';
export {
  connectRefusalKind,
  type Failure,
  type FailureKind,
  type Random,
  refreshDelayMs,
  retryDelayMs,
  tokenFailureKind,
} from './refresh-policy.ts';
export { readCredentialsFile } from './store.ts';
export type { MessageHandler, Subscription } from './subscriptions.ts';
export { type CacheClock, type KeptToken, openTokenCache, type TokenCache } from './token-cache.ts';
export { keepTokenFresh, type TokenRenewalOptions } from './token-renewal.ts';
export { createTokenSource, type TokenSource, type TokenSourceOptions } from './token-source.ts';
export type { AgentSpan, AgentTracer, SpanName } from './tracer.ts';
export { type CoapTransportOptions, coapTransport } from './transport/coap.ts';
export { type HttpTransportOptions, httpTransport } from './transport/http.ts';
export { IssuerBusyError, type TokenRequest, type TokenTransport } from './transport/token-transport.ts';
