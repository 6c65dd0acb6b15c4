import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { FleetgateError } from '@fleetgate/shared';
import { connectionFailure } from '../connection-failure.ts';
import type { HttpAnswer } from './token-response.ts';

/** Bytes of an answer that are read. A token of 8 KiB and its frame need a fraction; more is not a token. */
export const MAX_ANSWER_BYTES = 65_536;

/** A certificate to show to the server and its key, both PEM. */
export interface ClientCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface HttpExchange {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent by POST; without either GET. */
  readonly form?: URLSearchParams;
  readonly json?: object;
  readonly certificate?: ClientCertificate | undefined;
  readonly signal: AbortSignal;
}

/**
 * One HTTP exchange on a connection of its own, the body read up to the limit. A redirect is an answer like any other.
 * On node:http, since fetch shows no client certificate.
 * @throws FleetgateError `token_request_failed`, `token_response_invalid` for a body beyond the limit
 */
export async function exchange({
  url,
  headers,
  form,
  json,
  certificate,
  signal,
}: HttpExchange): Promise<HttpAnswer> {
  const [type, body] =
    form !== undefined
      ? ['application/x-www-form-urlencoded', form.toString()]
      : ['application/json', json && JSON.stringify(json)];
  const request = new URL(url).protocol === 'https:' ? requestHttps : requestHttp;
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        url,
        {
          // A device asks once in minutes: a connection that is kept is mostly one the server has closed.
          agent: false,
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            accept: 'application/json',
            ...(body === undefined ? {} : { 'content-type': type }),
            ...headers,
          },
          signal,
          // Also where the environment says otherwise.
          rejectUnauthorized: true,
          ...certificate,
        },
        resolve,
      );
      sent.on('error', reject);
      sent.end(body);
    });
    return {
      status: response.statusCode ?? 0,
      contentType: response.headers['content-type'] ?? '',
      retryAfter: response.headers['retry-after'] ?? null,
      body: await readBounded(response),
    };
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const reason = signal.aborted ? whyAborted(signal) : connectionFailure(error);
    throw new FleetgateError('token_request_failed', `${new URL(url).origin} cannot be asked: ${reason}`);
  }
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop closes the connection.
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new FleetgateError(
        'token_response_invalid',
        `the answer is longer than ${MAX_ANSWER_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

export const whyAborted = ({ reason }: AbortSignal) =>
  reason instanceof Error && reason.name === 'TimeoutError' ? 'no answer in time' : 'stopped';
