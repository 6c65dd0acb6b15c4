export { AccessToken } from './access-token.ts';
export { refreshDelayMs, retryDelayMs } from './refresh-policy.ts';
export { readCredentialsFile } from './store.ts';
export { createTokenSource, type TokenSource, type TokenSourceOptions } from './token-source.ts';
export { type HttpTransportOptions, httpTransport } from './transport/http.ts';
export { IssuerBusyError, type TokenRequest, type TokenTransport } from './transport/token-transport.ts';
