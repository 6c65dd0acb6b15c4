import { FleetgateError } from '@fleetgate/shared';
import type { AgentSpan, AgentTracer } from './tracer.ts';

export type { AgentSpan, AgentTracer, SpanName } from './tracer.ts';

/** Spans that are being exported. */
export interface Tracing {
  /** Exports what is left, for three seconds at most. Never rejects. */
  stop(): Promise<void>;
}

export interface TracingOptions {
  /** `service.name` of the spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word. */
  readonly serviceName: string;
  /** Told why spans were not exported, once a minute at most. */
  readonly onProblem: (words: string) => void;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Time for the last spans. Ours: a stop has ten seconds in all. */
const STOP_TIMEOUT_MS = 3000;

/** Time for one export, tries again included, where OTEL_EXPORTER_OTLP_TIMEOUT does not say: a command ends no later. */
const EXPORT_TIMEOUT_MS = 2000;

const MIN_PROBLEM_INTERVAL_MS = 60_000;
const PACKAGES =
  '@opentelemetry/api @opentelemetry/resources @opentelemetry/sdk-trace-node @opentelemetry/exporter-trace-otlp-proto';

/**
 * Registers an OpenTelemetry SDK that exports spans over OTLP, where the standard variables ask for it:
 * OTEL_TRACES_EXPORTER=otlp, or an OTEL_EXPORTER_OTLP_ENDPOINT. Without them nothing is loaded. The SDK reads the other
 * variables itself (headers, sampler, batches).
 * @throws FleetgateError `config_invalid` for another exporter or protocol, `not_supported` where its packages are not
 * installed
 */
export async function startTracing(options: TracingOptions): Promise<Tracing | undefined> {
  const { environment = process.env } = options;
  if (!isAskedFor(environment)) return undefined;
  const [api, resources, sdk, otlp] = await loadPackages();
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = (message: string) => {
    if (performance.now() - toldAtMs < MIN_PROBLEM_INTERVAL_MS) return;
    toldAtMs = performance.now();
    options.onProblem(`spans are not exported: ${reasonOf(message)}`);
  };
  const quiet = () => {};
  const logger = { error: tell, warn: quiet, info: quiet, debug: quiet, verbose: quiet };
  api.diag.setLogger(logger, { logLevel: api.DiagLogLevel.ERROR, suppressOverrideMessage: true });
  const provider = new sdk.NodeTracerProvider({
    resource: resources
      .resourceFromAttributes({ 'service.name': options.serviceName })
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [new sdk.BatchSpanProcessor(new otlp.OTLPTraceExporter(timeoutOf(environment)))],
  });
  provider.register();
  return {
    async stop() {
      const late = new Promise<void>((resolve) => {
        setTimeout(resolve, STOP_TIMEOUT_MS).unref();
      });
      await Promise.race([provider.shutdown().catch((error: unknown) => tell(String(error))), late]);
    },
  };
}

/** The agent's spans, by whatever OpenTelemetry SDK the process has registered. */
export async function openTelemetryTracer(): Promise<AgentTracer> {
  const { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, propagation, trace } = await import(
    '@opentelemetry/api'
  );
  const tracer = trace.getTracer('@fleetgate/agent');
  return (name, parent): AgentSpan => {
    try {
      const within =
        parent === undefined ? context.active() : propagation.extract(ROOT_CONTEXT, { traceparent: parent });
      const span = tracer.startSpan(name, { kind: SpanKind.CLIENT }, within);
      const { traceId, spanId, traceFlags } = span.spanContext();
      return {
        traceparent: `00-${traceId}-${spanId}-${(traceFlags & 1).toString().padStart(2, '0')}`,
        end(result, attributes = {}) {
          try {
            span.setAttributes({ 'fleetgate.result': result, ...attributes });
            if (result !== 'ok') span.setStatus({ code: SpanStatusCode.ERROR });
            span.end();
          } catch {
            // A tracer that fails keeps no device from its work.
          }
        },
      };
    } catch {
      return { traceparent: parent ?? '', end() {} };
    }
  };
}

function isAskedFor(environment: Readonly<Record<string, string | undefined>>): boolean {
  const exporter = environment['OTEL_TRACES_EXPORTER'] ?? '';
  const endpoint =
    environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || environment['OTEL_EXPORTER_OTLP_ENDPOINT'] || '';
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' || exporter === 'none') return false;
  if (exporter === '' && endpoint === '') return false;
  if (exporter !== '' && exporter !== 'otlp') {
    throw new FleetgateError(
      'config_invalid',
      `OTEL_TRACES_EXPORTER is '${exporter}'; this knows otlp and none`,
    );
  }
  const protocol =
    environment['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || environment['OTEL_EXPORTER_OTLP_PROTOCOL'] || '';
  if (protocol !== '' && protocol !== 'http/protobuf') {
    throw new FleetgateError(
      'config_invalid',
      `OTEL_EXPORTER_OTLP_PROTOCOL is '${protocol}'; this speaks http/protobuf, to port 4318 of a collector`,
    );
  }
  return true;
}

function timeoutOf(environment: Readonly<Record<string, string | undefined>>): { timeoutMillis?: number } {
  const isSaid =
    environment['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT'] || environment['OTEL_EXPORTER_OTLP_TIMEOUT'];
  return isSaid ? {} : { timeoutMillis: EXPORT_TIMEOUT_MS };
}

async function loadPackages() {
  try {
    return await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
    ]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new FleetgateError(
      'not_supported',
      `the OTEL_ variables ask for traces, and their packages are not installed; run: npm install ${PACKAGES}`,
    );
  }
}

/** The SDK hands over an error as JSON, with its stack; a refusal of the collector has a `code`. */
function reasonOf(text: string): string {
  try {
    const { message, code } = JSON.parse(text) as { message?: unknown; code?: unknown };
    return `${message}${code === undefined ? '' : ` (${code})`}`.slice(0, 200);
  } catch {
    return text.slice(0, 200);
  }
}
