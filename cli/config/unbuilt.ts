import type { Role } from '../up.ts';
import type { Config } from './schema.ts';

/**
 * Keys of the configuration that are known and not built yet, where they are turned on: a line each. An operator
 * who asks for TLS and gets a plain listener is worse off than one whose start is refused.
 */
export function notBuiltProblems({ issuer }: Config, roles: readonly Role[]): string[] {
  const problems: string[] = [];
  const unless = (isOff: boolean, key: string, mend: string) => {
    if (!isOff) problems.push(`${key} is not built yet; ${mend}`);
  };
  if (roles.includes('issuer')) {
    unless(!issuer.coap.enabled, 'issuer.coap.enabled', 'leave it false');
  }
  return problems;
}
