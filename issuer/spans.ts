import { propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { AuditAction, Caller } from './audit.ts';
import type { TokenIntrospector } from './introspect-token.ts';
import type { TokenIssuer } from './issue.ts';
import { actOf, type ObservedAct, reasonOf } from './observer.ts';
import type { TokenRevoker } from './revoke-token.ts';

/** Does nothing until the process registers an OpenTelemetry SDK, which may be later. */
const tracer = trace.getTracer('@fleetgate/issuer');

type Acts = TokenIssuer & TokenIntrospector & TokenRevoker;

/**
 * The acts of clients, each in a span that goes on with the trace of who asks. Its attributes are `fleetgate.result` and,
 * of a token that was issued, `fleetgate.token_id`: no client, no address, no token.
 */
export function traceRequests(acts: Acts): Acts {
  const traced =
    <Request extends { readonly caller: Caller }, Answer>(
      act: ObservedAct,
      of: (request: Request) => Promise<Answer>,
      tokenOf: (answer: Answer) => string | undefined = () => undefined,
    ) =>
    (request: Request): Promise<Answer> =>
      inSpan(act, request.caller, () => of(request), tokenOf);

  return {
    ...acts,
    refuse: (error: unknown, caller: Caller, action: AuditAction = 'token.issue') =>
      inSpan(
        actOf(action),
        caller,
        () => acts.refuse(error, caller, action),
        () => undefined,
      ),
    issue: traced('issue', acts.issue, ({ access_token: token }) => token),
    introspectToken: traced('introspect', acts.introspectToken),
    revokeToken: traced('revoke', acts.revokeToken),
  };
}

async function inSpan<Answer>(
  act: ObservedAct,
  caller: Caller,
  run: () => Promise<Answer>,
  tokenOf: (answer: Answer) => string | undefined,
): Promise<Answer> {
  const span = start(act, caller);
  if (span === undefined) return run();
  let result = 'ok';
  let token: string | undefined;
  try {
    const answer = await run();
    token = tokenOf(answer);
    return answer;
  } catch (error) {
    result = reasonOf(error);
    throw error;
  } finally {
    try {
      span.setAttribute('fleetgate.result', result);
      if (token !== undefined) span.setAttribute('fleetgate.token_id', tokenIdOf(token));
      // Being refused is no fault of the issuer.
      if (result === 'server_error') span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    } catch {
      // A tracer that fails changes nothing of the act.
    }
  }
}

function start(act: ObservedAct, { traceparent }: Caller): Span | undefined {
  try {
    const parent =
      traceparent === undefined ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent });
    const span = tracer.startSpan(`fleetgate.${act}`, { kind: SpanKind.SERVER }, parent);
    // Of no SDK, or not sampled: nobody would see it end.
    return span.isRecording() ? span : undefined;
  } catch {
    return undefined;
  }
}

/** Of a token of ours. */
function tokenIdOf(token: string): string {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')).jti;
}
