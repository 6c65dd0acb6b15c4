import { context, isSpanContextValid, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Protocol } from './protocol.ts';

/** Does nothing until the process registers an OpenTelemetry SDK, which may be later. */
const tracer = trace.getTracer('@fleetgate/broker');

export interface Step<Answer> {
  readonly name: 'fleetgate.connect' | 'fleetgate.renew';
  readonly protocol: Protocol | undefined;
  /** What came of it: `accepted`, a reason code, or `gone`. */
  readonly resultOf: (answer: Answer) => string;
  /** The `jti` of a token that was verified, by which the issuer's span of it is found. */
  readonly tokenId: () => string | undefined;
  readonly onError: (error: unknown) => void;
}

/**
 * Runs one step of a session inside a span. Its attributes are `fleetgate.result`, `fleetgate.protocol` and
 * `fleetgate.token_id`: no client, no token, no topic. A tracer that fails changes nothing of the step.
 */
export function inSpan<Answer>(step: Step<Answer>, run: () => Promise<Answer>): Promise<Answer> {
  const span = start(step);
  return span === undefined ? run() : inside(step, span, run);
}

async function inside<Answer>(step: Step<Answer>, span: Span, run: () => Promise<Answer>): Promise<Answer> {
  let result = 'internal_error';
  try {
    const answer = await context.with(trace.setSpan(context.active(), span), run);
    result = step.resultOf(answer);
    return answer;
  } finally {
    end(step, span, result);
  }
}

function start({ name, protocol, onError }: Step<never>): Span | undefined {
  try {
    const attributes = protocol === undefined ? {} : { 'fleetgate.protocol': protocol };
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes });
    // Of no SDK at all: it would be carried through every step for nothing.
    return isSpanContextValid(span.spanContext()) ? span : undefined;
  } catch (error) {
    onError(error);
    return undefined;
  }
}

function end({ onError, tokenId }: Step<never>, span: Span, result: string): void {
  try {
    const id = tokenId();
    if (id !== undefined) span.setAttribute('fleetgate.token_id', id);
    span.setAttribute('fleetgate.result', result);
    // Being refused is no fault of the broker.
    if (result === 'internal_error') span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  } catch (error) {
    onError(error);
  }
}
