import { isDeepStrictEqual } from 'node:util';
import { isIdentifier, isSecretShaped } from '@fleetgate/shared';
import type { registered } from './client-registration.ts';

/** One field that an act changed. A value that was unset is left out; see {@link fieldChanges} for what is withheld. */
export interface FieldChange {
  /** As the API names it; one label is `labels.NAME`. */
  readonly field: string;
  /** Text as it is, all else as JSON. */
  readonly before?: string;
  readonly after?: string;
  /** Both values are kept out of the trail. */
  readonly withheld?: true;
}

/** Characters of all values of one act; of what comes behind them only the names are kept. Ours. */
const MAX_VALUES_LENGTH = 4096;

type Registered = ReturnType<typeof registered>;

/**
 * What differs between two registrations of a client, for the audit trail, which keeps it for ever and is exported. So
 * metadata is shown as far as it goes into tokens (`shown`), and of keys, of what SuperTokens keeps, and of a value that
 * looks like a secret it is said that they changed and not to what.
 */
export function fieldChanges(before: Registered, after: Registered, shown: readonly string[]): FieldChange[] {
  const [from, to] = [fieldsOf(before), fieldsOf(after)];
  let length = 0;
  return [...new Set([...from.keys(), ...to.keys()])].flatMap((field): FieldChange[] => {
    const [old, next] = [from.get(field), to.get(field)];
    if (isDeepStrictEqual(old, next)) return [];
    const values = { ...textOf('before', old), ...textOf('after', next) };
    const texts = Object.values(values);
    length += texts.reduce((sum, text) => sum + text.length, 0);
    const isWithheld = isPrivate(field, shown) || texts.some(isSecretShaped) || length > MAX_VALUES_LENGTH;
    return [isWithheld ? { field, withheld: true } : { field, ...values }];
  });
}

/** Labels and metadata by their names, so that one that changed does not bring all others with it. */
function fieldsOf(client: Registered): Map<string, unknown> {
  const fields: [string, unknown][] = [
    ['name', client.name],
    ['scope', client.scope],
    ['audience', client.audience],
    ['auth_method', client.authMethod],
    ['jwks', client.jwks],
    ['jwks_uri', client.jwksUri],
    ['tls_client_auth_subject_dn', client.tlsClientAuthSubjectDn],
    ['tls_client_auth_san_dns', client.tlsClientAuthSanDns],
    ['tls_client_auth_san_uri', client.tlsClientAuthSanUri],
    ['tls_client_auth_san_ip', client.tlsClientAuthSanIp],
    ['tls_client_auth_san_email', client.tlsClientAuthSanEmail],
    ['grant_types', client.grantTypes],
    ['group', client.group],
    ...named('labels', client.labels),
    ...named('metadata', client.metadata),
    ['token_lifetime_seconds', client.tokenLifetimeSeconds],
    ['supertokens', client.supertokens],
  ];
  return new Map(fields);
}

/** What has a name that is no identifier comes together: nobody has checked that name. */
function named(field: string, values: Readonly<Record<string, unknown>>): [string, unknown][] {
  const entries = Object.entries(values);
  const others = entries.filter(([name]) => !isIdentifier(name));
  return [
    ...entries
      .filter(([name]) => isIdentifier(name))
      .map(([name, value]): [string, unknown] => [`${field}.${name}`, value]),
    ...(others.length === 0 ? [] : [[field, Object.fromEntries(others)] as [string, unknown]]),
  ];
}

function isPrivate(field: string, shown: readonly string[]): boolean {
  if (field === 'jwks' || field === 'supertokens' || field === 'metadata') return true;
  return field.startsWith('metadata.') && !shown.includes(field.slice('metadata.'.length));
}

function textOf(name: 'before' | 'after', value: unknown): Partial<Record<'before' | 'after', string>> {
  if (value === undefined) return {};
  return { [name]: (typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed() };
}
