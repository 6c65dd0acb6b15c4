import { assertionAlgorithms } from '../client-auth/client-keys.ts';
import { clientAuthMethods } from '../client-auth/methods.ts';
import { tokenEndpointPaths } from '../token-endpoint-paths.ts';

/**
 * Metadata of the authorization server (RFC 8414 §2): only what exists.
 * @param byCertificate methods of authentication by certificate (RFC 8705 §2) that the listener can tell
 */
export function metadata(issuerUrl: string, byCertificate: readonly string[] = []) {
  const methods = [...clientAuthMethods.keys(), ...byCertificate];
  return {
    issuer: issuerUrl,
    token_endpoint: `${issuerUrl}${paths.token}`,
    jwks_uri: `${issuerUrl}${paths.jwks}`,
    token_endpoint_auth_methods_supported: methods,
    token_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    ...(byCertificate.length > 0 && { tls_client_certificate_bound_access_tokens: true }),
    revocation_endpoint: `${issuerUrl}${paths.revoke}`,
    revocation_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    introspection_endpoint: `${issuerUrl}${paths.introspect}`,
    introspection_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    // As SuperTokens calls it.
    token_introspection_endpoint: `${issuerUrl}${paths.introspect}`,
    grant_types_supported: ['client_credentials'],
    // Required by the RFC; empty, since there is no authorization endpoint.
    response_types_supported: [],
  };
}

/** Paths below the issuer's URL. */
export const paths = {
  token: tokenEndpointPaths[0],
  revoke: '/oauth/revoke',
  introspect: '/oauth/introspect',
  revocations: '/revocations',
  enroll: '/enroll',
  jwks: '/.well-known/jwks.json',
  oauthMetadata: '/.well-known/oauth-authorization-server',
  openidMetadata: '/.well-known/openid-configuration',
} as const;
