import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface CollectedSpan {
  /** `service.name` of its process. */
  readonly service: string;
  /** Of the tracer that made it. */
  readonly scope: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty of a root. */
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly isError: boolean;
}

export interface OtlpCollector {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Bodies and headers as they came. */
  readonly received: readonly string[];
  close(): void;
}

/** A collector for OTLP over HTTP, as of opentelemetry-proto's `trace/v1`, which keeps what it is sent. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const received: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    received.push(body.toString('latin1'));
    if (request.url === '/v1/traces' && request.headers['content-type'] === 'application/x-protobuf') {
      spans.push(...spansOf(body));
      response.setHeader('content-type', 'application/x-protobuf').end();
    } else response.writeHead(404).end();
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, spans, received, close: () => server.close() };
}

function spansOf(request: Buffer): CollectedSpan[] {
  return messages(request, 1).flatMap((resourceSpans) => {
    const resource = messages(resourceSpans, 1).map((one) => attributesOf(one, 1))[0];
    return messages(resourceSpans, 2).flatMap((scopeSpans) => {
      const scope = messages(scopeSpans, 1)[0];
      return messages(scopeSpans, 2).map((span) => ({
        service: String(resource?.['service.name']),
        scope: scope === undefined ? '' : text(scope, 1),
        name: text(span, 5),
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentSpanId: hex(span, 4),
        attributes: attributesOf(span, 9),
        isError: messages(span, 15).some((status) => fields(status).some(([n, v]) => n === 3 && v === 2)),
      }));
    });
  });
}

/** KeyValues with a string or a whole number. */
function attributesOf(message: Buffer, field: number): Record<string, string | number> {
  const entries = messages(message, field).map((pair): [string, string | number] => {
    const [value] = fields(messages(pair, 2)[0] ?? Buffer.alloc(0));
    const content = value?.[1];
    return [text(pair, 1), typeof content === 'number' ? content : (content?.toString('utf8') ?? '')];
  });
  return Object.fromEntries(entries);
}

const messages = (of: Buffer, field: number) =>
  fields(of).flatMap(([number, value]) => (number === field && typeof value !== 'number' ? [value] : []));
const text = (of: Buffer, field: number) => messages(of, field)[0]?.toString('utf8') ?? '';
const hex = (of: Buffer, field: number) => messages(of, field)[0]?.toString('hex') ?? '';

/** Of the wire format of Protocol Buffers: fields by number, in order. */
function fields(of: Buffer): [number: number, value: Buffer | number][] {
  const all: [number, Buffer | number][] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = of[at++] as number;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < of.length) {
    const tag = varint();
    const type = tag & 7;
    if (type === 0) all.push([tag >> 3, varint()]);
    else {
      const length = type === 2 ? varint() : type === 1 ? 8 : 4;
      all.push([tag >> 3, of.subarray(at, at + length)]);
      at += length;
    }
  }
  return all;
}
