import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { buffer } from 'node:stream/consumers';
import type { SecureContextOptions } from 'node:tls';

/** What is looked at of a `RequestInit`, also as libraries of others have it. */
interface HttpsRequest {
  readonly method?: string | undefined;
  readonly headers?: RequestInit['headers'] | undefined;
  readonly body?: RequestInit['body'] | undefined;
}

export type HttpsFetch = (url: string | URL, init?: HttpsRequest) => Promise<Response>;

/** `fetch` with a client certificate and authorities of its own, each request by a connection of its own. */
export function httpsFetch(tls: SecureContextOptions): HttpsFetch {
  return async (url, { body = null, headers, method = 'GET' } = {}) => {
    const sent = new Request(url, {
      method,
      ...(headers && { headers }),
      ...(body === null ? {} : { body }),
    });
    const bytes = Buffer.from(await sent.arrayBuffer());
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = {
        ...tls,
        agent: false,
        method: sent.method,
        headers: Object.fromEntries(sent.headers),
      };
      request(url, options, resolve).once('error', reject).end(bytes);
    });
    const received = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
    return new Response(await buffer(answer), {
      status: answer.statusCode ?? 0,
      headers: received as [string, string][],
    });
  };
}
