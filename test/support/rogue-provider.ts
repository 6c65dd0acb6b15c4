import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { onTestFinished } from 'vitest';

/** An OpenID Connect provider that answers what a test wants it to, which no honest one does. */
export interface RogueProvider {
  readonly issuer: string;
  /** Bodies of the token requests that came, and their `authorization`. */
  readonly requests: { readonly body: URLSearchParams; readonly authorization: string | undefined }[];
  /** What the next token request is answered; a text stands for the ID token. */
  answer: (body: URLSearchParams) => Promise<string | { readonly status: number; readonly body: object }>;
  /** Over what it says of itself. */
  metadata: object;
  /** An ID token by its key. */
  sign(claims: JWTPayload, header?: object): Promise<string>;
  close(): Promise<void>;
}

export async function rogueProvider(): Promise<RogueProvider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' };
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    request.on('end', () => void serve(request.url ?? '', text, request.headers.authorization, response));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function serve(
    url: string,
    text: string,
    authorization: string | undefined,
    response: ServerResponse,
  ): Promise<void> {
    const send = (body: object, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (url === '/jwks') return void send({ keys: [jwk] });
    if (url === '/.well-known/openid-configuration') {
      return void send({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['code'],
        id_token_signing_alg_values_supported: ['ES256'],
        authorization_response_iss_parameter_supported: true,
        ...provider.metadata,
      });
    }
    const body = new URLSearchParams(text);
    provider.requests.push({ body, authorization });
    const answer = await provider.answer(body);
    if (typeof answer !== 'string') return void send(answer.body, answer.status);
    send({ access_token: 'opaque-access-token', token_type: 'Bearer', expires_in: 60, id_token: answer });
  }

  const provider: RogueProvider = {
    issuer,
    requests: [],
    answer: async () => ({ status: 400, body: { error: 'invalid_grant' } }),
    metadata: {},
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k', ...header }).sign(privateKey),
    close: () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
  onTestFinished(() => provider.close());
  return provider;
}
