import { clientAuthMethods } from '../client-auth/methods.ts';

/** Metadata of the authorization server (RFC 8414 §2): only what exists. */
export function metadata(issuerUrl: string) {
  return {
    issuer: issuerUrl,
    token_endpoint: `${issuerUrl}${paths.token}`,
    jwks_uri: `${issuerUrl}${paths.jwks}`,
    token_endpoint_auth_methods_supported: Array.from(clientAuthMethods.keys()),
    revocation_endpoint: `${issuerUrl}${paths.revoke}`,
    revocation_endpoint_auth_methods_supported: Array.from(clientAuthMethods.keys()),
    introspection_endpoint: `${issuerUrl}${paths.introspect}`,
    introspection_endpoint_auth_methods_supported: Array.from(clientAuthMethods.keys()),
    // As SuperTokens calls it.
    token_introspection_endpoint: `${issuerUrl}${paths.introspect}`,
    grant_types_supported: ['client_credentials'],
    // Required by the RFC; empty, since there is no authorization endpoint.
    response_types_supported: [],
  };
}

/** Paths below the issuer's URL. */
export const paths = {
  token: '/oauth/token',
  revoke: '/oauth/revoke',
  introspect: '/oauth/introspect',
  revocations: '/revocations',
  jwks: '/.well-known/jwks.json',
  oauthMetadata: '/.well-known/oauth-authorization-server',
  openidMetadata: '/.well-known/openid-configuration',
} as const;
