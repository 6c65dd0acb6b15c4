import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Credentials } from '@fleetgate/shared';
import { onTestFinished } from 'vitest';

/** Found in no message, stack or inspection. Characters that the form encoding changes are in it. */
export const CANARY_SECRET = 'canary secret+/%:ü';
export const CANARY_TOKEN = 'canary-token.abc_123';

export const goodBody = { access_token: CANARY_TOKEN, token_type: 'Bearer', expires_in: 900, scope: 'a b' };

/** A real HTTP server that lives for the test; its origin, and the requests it got. */
export async function startEndpoint(
  listener: RequestListener,
): Promise<{ origin: string; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    listener(request, response);
  });
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  onTestFinished(
    () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  );
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** Answers every request with this JSON. */
export function json(body: unknown, status = 200): RequestListener {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
}

export function credentialsFor(origin: string, changes: Partial<Credentials> = {}): Credentials {
  return {
    version: 1,
    client_id: 'sensor-1',
    issuer: origin,
    token_endpoint: `${origin}/token`,
    auth: { method: 'client_secret_basic', client_secret: CANARY_SECRET },
    ...changes,
  };
}

/** What `call` rejects with. */
export async function rejection(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => {
      throw new Error('it was expected to reject');
    },
    (error: unknown) => error,
  );
}
