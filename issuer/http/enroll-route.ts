import { OAuthError } from '@fleetgate/shared';
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { ShownCredential } from '../client-credential.ts';
import type { EnrollCall } from '../fleet/device-identity.ts';
import type { Issuer } from '../open-issuer.ts';
import type { NewClientRecord } from '../registry/registry.ts';
import { credentialView } from './credential-wire.ts';
import { callerOf, type Handler } from './routes.ts';
import { bodyReader } from './schema.ts';
import { parseStrictJson } from './strict-json.ts';
import type { RawBody } from './token-request.ts';

/** When a device that waits for approval may come again. */
const RETRY_AFTER_SECONDS = 30;

const readBody = bodyReader(
  Type.Object(
    {
      claim_code: Type.Optional(Type.String()),
      enrollment: Type.Optional(Type.String()),
      proof: Type.Optional(Type.String()),
      device: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      nonce: Type.Optional(Type.String()),
      public_jwk: Type.Optional(Type.Unknown()),
      key_proof: Type.Optional(Type.String()),
    },
    { additionalProperties: false },
  ),
);

/** `POST /enroll`: a device claims its identity. */
export function enrollEndpoint(issuer: Issuer): Handler {
  return async (request, reply) => {
    const enrolled = await issuer.enroll(readCall(request));
    reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
    if (enrolled.status === 'pending') {
      return reply.code(202).header('retry-after', RETRY_AFTER_SECONDS).send({
        status: 'pending',
        client_id: enrolled.clientId,
        retry_after_seconds: RETRY_AFTER_SECONDS,
      });
    }
    return reply
      .code(201)
      .send({ status: 'enrolled', credentials: credentialsView(enrolled.client, enrolled.shown, issuer) });
  };
}

function readCall(request: FastifyRequest): EnrollCall {
  const body = request.body as RawBody | undefined;
  if (body?.type !== 'json')
    throw new OAuthError('invalid_request', 'the body must be JSON (application/json)');
  const asked = readBody(parseStrictJson(body.bytes));
  return {
    claimCode: asked.claim_code,
    enrollmentId: asked.enrollment,
    groupProof: asked.proof,
    device: asked.device ?? {},
    publicJwk: asked.public_jwk,
    keyProof: asked.key_proof,
    nonce: asked.nonce,
    caller: callerOf(request),
  };
}

/** How a device that authenticates by one of these says it in its file: it does the same in both. */
const fileMethods: ReadonlyMap<string, string> = new Map([
  ['client_secret_post', 'client_secret_basic'],
  ['self_signed_tls_client_auth', 'tls_client_auth'],
]);

/** A credentials file, but for what the device alone has. */
function credentialsView(
  { clientId, authMethod, audience, scope }: NewClientRecord,
  shown: ShownCredential,
  issuer: Issuer,
) {
  const { client_secret, oscore } = credentialView(shown);
  const coap = authMethod === 'oscore' ? issuer.coapTokenEndpoint() : undefined;
  const method = fileMethods.get(authMethod) ?? authMethod;
  const [first = issuer.defaultAudience[0]] = audience;
  return {
    version: 1,
    client_id: clientId,
    issuer: issuer.url(),
    ...(coap !== undefined && { token_endpoint: coap }),
    auth: { method, ...(client_secret !== undefined && { client_secret }), ...oscore },
    ...(scope !== '' && !scope.includes('{') && { scope }),
    ...(first !== undefined && { audience: first }),
  };
}
