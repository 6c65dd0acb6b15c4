import Type, { type Static } from 'typebox';
import type { ClientAuthRegistration } from '../client-auth/registration.ts';
import type { NewClientRecord } from '../registry/registry.ts';

/** How a client authenticates when not by a secret, in the names of RFC 7591 §2 and RFC 8705 §2.1.2. */
export const clientAuthFields = {
  jwks: Type.Optional(Type.Unknown()),
  jwks_uri: Type.Optional(Type.String()),
  tls_client_auth_subject_dn: Type.Optional(Type.String()),
  tls_client_auth_san_dns: Type.Optional(Type.String()),
  tls_client_auth_san_uri: Type.Optional(Type.String()),
  tls_client_auth_san_ip: Type.Optional(Type.String()),
  tls_client_auth_san_email: Type.Optional(Type.String()),
};
const ClientAuthFields = Type.Object(clientAuthFields);

export function readClientAuthFields(body: Static<typeof ClientAuthFields>): ClientAuthRegistration {
  return {
    jwks: body.jwks,
    jwksUri: body.jwks_uri,
    certificateNames: {
      subject_dn: body.tls_client_auth_subject_dn,
      san_dns: body.tls_client_auth_san_dns,
      san_uri: body.tls_client_auth_san_uri,
      san_ip: body.tls_client_auth_san_ip,
      san_email: body.tls_client_auth_san_email,
    },
  };
}

/** The fields of them that a client has. */
export function viewClientAuth({ authParameters }: NewClientRecord): Record<string, unknown> {
  const { jwks, jwksUri, certificateName } = authParameters;
  return {
    ...(jwks && { jwks }),
    ...(jwksUri && { jwks_uri: jwksUri }),
    ...(certificateName && { [`tls_client_auth_${certificateName.kind}`]: certificateName.value }),
  };
}
