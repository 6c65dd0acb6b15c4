import Type from 'typebox';
import type { ClientAuthParameters } from '../client-auth/parameters.ts';

const nameOf = (what: string) =>
  Type.String({ description: `${what} of its certificate, of \`tls_client_auth\`; one of these names` });

/** How a client authenticates when not by a secret, in the names of RFC 7591 §2 and RFC 8705 §2.1.2. */
export const clientAuthFields = {
  jwks: Type.Unknown({
    description: 'its public keys as a JWK set, of `private_key_jwt` and `self_signed_tls_client_auth`',
  }),
  jwks_uri: Type.String({ description: 'where that set is instead, https' }),
  tls_client_auth_subject_dn: nameOf('subject (RFC 4514)'),
  tls_client_auth_san_dns: nameOf('DNS name'),
  tls_client_auth_san_uri: nameOf('URI'),
  tls_client_auth_san_ip: nameOf('IP address'),
  tls_client_auth_san_email: nameOf('mail address'),
};

/** The name of each of them in the core. */
export const clientAuthNames = {
  jwks: 'jwks',
  jwks_uri: 'jwksUri',
  tls_client_auth_subject_dn: 'tlsClientAuthSubjectDn',
  tls_client_auth_san_dns: 'tlsClientAuthSanDns',
  tls_client_auth_san_uri: 'tlsClientAuthSanUri',
  tls_client_auth_san_ip: 'tlsClientAuthSanIp',
  tls_client_auth_san_email: 'tlsClientAuthSanEmail',
} as const satisfies Record<keyof typeof clientAuthFields, keyof ClientAuthParameters>;

/** Those that a client has. */
export function clientAuthView(client: ClientAuthParameters): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(clientAuthNames)
      .map(([wireName, name]) => [wireName, client[name]])
      .filter(([, value]) => value !== undefined),
  );
}
