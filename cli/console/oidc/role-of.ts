import type { Role } from '@fleetgate/issuer';

/** Whose role wins where a person has several. */
const order: readonly Role[] = ['admin', 'provisioner', 'auditor'];

/**
 * The role that the claims of an ID token give; undefined for none.
 * @param claim name of the claim, or a JSON pointer (RFC 6901) to it, as `/realm_access/roles`; its value is text or a
 *   list of texts
 * @param roles which value gives which role
 */
export function roleOf(
  claims: Readonly<Record<string, unknown>>,
  claim: string,
  roles: Readonly<Record<string, Role>>,
): Role | undefined {
  const value = valueAt(claims, claim);
  const given = (Array.isArray(value) ? value : [value]).filter((one) => typeof one === 'string');
  const mapped = new Set(given.map((one) => (Object.hasOwn(roles, one) ? roles[one] : undefined)));
  return order.find((role) => mapped.has(role));
}

function valueAt(claims: Readonly<Record<string, unknown>>, claim: string): unknown {
  const path = claim.startsWith('/')
    ? claim
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    : [claim];
  return path.reduce<unknown>(
    (value, name) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined,
    claims,
  );
}
