/** What the agent makes spans of. */
export type SpanName = 'fleetgate.token' | 'fleetgate.connect' | 'fleetgate.renew';

/** A span that has begun. */
export interface AgentSpan {
  /** W3C Trace Context; sent to the issuer, and the parent of what is done with its token. */
  readonly traceparent: string;
  /** @param result `ok`, or what went wrong; never a token */
  end(result: string, attributes?: Readonly<Record<string, string | number>>): void;
}

/** Begins a span; it must not throw. `openTelemetryTracer` of `@fleetgate/agent/tracing` is one. */
export type AgentTracer = (name: SpanName, parent?: string) => AgentSpan;

/**
 * The `jti` of a token, by which its spans in the issuer and the broker are found. Not verified: for a span alone.
 * `undefined` when it has none.
 */
export function tokenIdOf(token: string): string | undefined {
  try {
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return typeof jti === 'string' && /^[\w.-]{1,64}$/.test(jti) ? jti : undefined;
  } catch {
    return undefined;
  }
}

/** The attribute of that. */
export function tokenAttribute(token: string): Readonly<Record<string, string>> {
  const tokenId = tokenIdOf(token);
  return tokenId === undefined ? {} : { 'fleetgate.token_id': tokenId };
}
