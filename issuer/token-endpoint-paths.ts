/** Where the token endpoint is, below the issuer's URL; the first is the one that metadata names. */
export const tokenEndpointPaths = ['/oauth/token', '/auth/oauth/token'] as const;
