import { isSecureAddress } from '@fleetgate/shared';
import type { OidcOptions } from '../console/oidc/routes.ts';
import type { Config } from './schema.ts';
import { readSecretFile } from './secret-file.ts';

/** What is wrong with the console beyond single keys: a line each, with its mend. */
export function consoleProblems({ url, oidc }: Config['console']): string[] {
  const problems: string[] = [];
  if (url !== undefined && !isPlace(url)) {
    problems.push(
      'console.url must be https unless its host is loopback, without user, query and fragment, as https://fleet.example/console/',
    );
  }
  if (oidc === undefined) return problems;
  if (url === undefined) {
    problems.push('console.oidc needs console.url: the provider sends browsers back to URL/oidc/callback');
  }
  if (!isPlace(oidc.issuer)) {
    problems.push(
      'console.oidc.issuer must be https unless its host is loopback, without user, query and fragment',
    );
  }
  if (!oidc.scopes.includes('openid')) {
    problems.push('console.oidc.scopes lacks openid, without which no ID token comes');
  }
  return problems;
}

/**
 * Sign-in with OpenID Connect as the console takes it; unset where it is not configured.
 * @throws FleetgateError `key_file_invalid`, `config_invalid`
 */
export function consoleOidc({ url, oidc }: Config['console']): OidcOptions | undefined {
  if (oidc === undefined || url === undefined) return undefined;
  const { client_secret_file: file } = oidc;
  return {
    consoleUrl: url.endsWith('/') ? url : `${url}/`,
    issuer: oidc.issuer,
    clientId: oidc.client_id,
    clientSecret: file === undefined ? undefined : readSecretFile(file, 'console.oidc.client_secret_file'),
    scopes: oidc.scopes,
    roleClaim: oidc.role_claim,
    roles: oidc.roles,
  };
}

function isPlace(address: string): boolean {
  const url = URL.parse(address);
  return url !== null && isSecureAddress(address) && url.search === '' && !/[?#]/.test(address);
}
