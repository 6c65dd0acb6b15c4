import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Opens a socket, in the clear unless told otherwise. */
export type OpenSocket = () => Socket;

export const openTo =
  (port: number): OpenSocket =>
  () =>
    connect(port, '127.0.0.1');

/**
 * Sends bytes as they are and gives all that is answered until the peer closes; a request should say
 * `connection: close`. Chunks are sent one after the other.
 */
export async function exchange(open: OpenSocket, ...chunks: (string | Uint8Array)[]): Promise<RawAnswer[]> {
  const socket = open();
  onTestFinished(() => {
    socket.destroy();
  });
  const received: Buffer[] = [];
  socket.on('data', (data) => received.push(data));
  // Whoever is cut off while it sends; what was answered before is looked at.
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  for (const chunk of chunks) socket.write(chunk);
  await closed;
  return parseAnswers(Buffer.concat(received).toString('utf8'));
}

/** Answers with a Content-Length, one behind the other. */
function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = text;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) throw new Error(`not an answer: ${rest.slice(0, 100)}`);
    const [start = '', ...lines] = rest.slice(0, end).split('\r\n');
    const headers = new Map(
      lines.map((line): [string, string] => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(start)?.[1]);
    const length = Number(headers.get('content-length') ?? 0);
    const body = Buffer.from(rest.slice(end + 4))
      .subarray(0, length)
      .toString('utf8');
    rest = rest.slice(end + 4 + body.length);
    // 100 Continue announces the answer.
    if (status >= 200) answers.push({ status, headers, body });
  }
  return answers;
}

/** A request as bytes, with Content-Length; `headers` go as they are, also twice. */
export function rawPost(path: string, headers: readonly string[], body: string | Uint8Array): Buffer {
  const bytes = Buffer.from(body as string);
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: issuer.example',
    'connection: close',
    ...headers,
    `content-length: ${bytes.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}
