import type { Role } from '../up.ts';
import type { Config } from './schema.ts';

/**
 * Keys of the configuration that are known and not built yet, where they are turned on: a line each. An operator
 * who asks for TLS and gets a plain listener is worse off than one whose start is refused.
 */
export function notBuiltProblems({ issuer, broker }: Config, roles: readonly Role[]): string[] {
  const problems: string[] = [];
  const unless = (isOff: boolean, key: string, mend: string) => {
    if (!isOff) problems.push(`${key} is not built yet; ${mend}`);
  };
  if (roles.includes('issuer')) {
    unless(!issuer.coap.enabled, 'issuer.coap.enabled', 'leave it false');
    const { tls_cert_file, tls_key_file, tls_client_ca_file } = issuer.http;
    unless(
      tls_cert_file === undefined && tls_key_file === undefined && tls_client_ca_file === undefined,
      'TLS on issuer.http',
      'leave its tls_* keys out, and put a proxy that ends TLS before it',
    );
  }
  if (roles.includes('broker')) {
    for (const [index, issuer] of broker.trusted_issuers.entries()) {
      const key = `broker.trusted_issuers.${index}`;
      unless(
        issuer.jwks_uri !== undefined,
        `finding the keys of ${key} by its metadata`,
        'give its jwks_uri',
      );
    }
  }
  return problems;
}
