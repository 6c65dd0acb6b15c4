import { isSecureAddress, OAuthError } from '@fleetgate/shared';
import type { ClientAuthParameters } from '../registry/registry.ts';
import { type ClientKey, loadClientKeys } from './client-key-set.ts';
import { checkAuthMethod } from './methods.ts';
import { type CertificateNameKind, certificateNameKinds, registeredNameProblem } from './registered-name.ts';

/** How a client is to authenticate, as it is asked to be registered. */
export interface ClientAuthRegistration {
  /** A JWK set of public keys. */
  readonly jwks?: unknown;
  /** Where that set is. */
  readonly jwksUri?: string | undefined;
  /** A name of its certificate, by kind. */
  readonly certificateNames?: Readonly<Partial<Record<CertificateNameKind, string | undefined>>> | undefined;
}

/** Characters of a registered key set, and of the address of one. Ours: four keys with a certificate each. */
const MAX_JWKS_LENGTH = 32_768;
const MAX_JWKS_URI_LENGTH = 1024;

/** What each method of authentication is registered with; secrets are made, not given. */
const wanted: ReadonlyMap<string, 'keys' | 'name'> = new Map([
  ['private_key_jwt', 'keys'],
  ['self_signed_tls_client_auth', 'keys'],
  ['tls_client_auth', 'name'],
]);

/**
 * What a client of this method is registered with, checked.
 * @throws FleetgateError `not_supported` for an unknown method; OAuthError `invalid_request`, naming field and mend
 */
export function readClientAuth(method: string, registration: ClientAuthRegistration): ClientAuthParameters {
  checkAuthMethod(method);
  const wants = wanted.get(method);
  refuseUseless(method, registration);
  if (wants === 'keys') return readKeys(method, registration);
  return wants === 'name' ? readName(registration) : {};
}

function refuseUseless(method: string, registration: ClientAuthRegistration): void {
  const wants = wanted.get(method);
  const given = [
    ...(registration.jwks === undefined ? [] : [['jwks', 'keys']]),
    ...(registration.jwksUri === undefined ? [] : [['jwks_uri', 'keys']]),
    ...namesOf(registration).map(({ kind }) => [`tls_client_auth_${kind}`, 'name']),
  ];
  const useless = given.find(([, kind]) => kind !== wants);
  if (useless === undefined) return;
  const methods = Array.from(wanted).filter(([, kind]) => kind === useless[1]);
  const mend = methods.map(([name]) => name).join(' or ');
  invalid(`${useless[0]} is of no use with auth_method ${method}; it is for ${mend}`);
}

function readKeys(method: string, { jwks, jwksUri }: ClientAuthRegistration): ClientAuthParameters {
  if (jwks !== undefined && jwksUri !== undefined) invalid('jwks and jwks_uri exclude each other; give one');
  if (jwksUri !== undefined) return { jwksUri: readJwksUri(jwksUri) };
  if (jwks === undefined) return invalid(`auth_method ${method} needs jwks or jwks_uri`);
  return { jwks: { keys: readJwks(jwks).map(({ jwk }) => jwk) } };
}

function readJwks(jwks: unknown): readonly ClientKey[] {
  if (JSON.stringify(jwks).length > MAX_JWKS_LENGTH) {
    invalid(`jwks must be at most ${MAX_JWKS_LENGTH} characters of JSON; jwks_uri may lead to more`);
  }
  let loaded: ReturnType<typeof loadClientKeys>;
  try {
    loaded = loadClientKeys(jwks);
  } catch (error) {
    return invalid(`jwks ${error instanceof TypeError ? error.message : 'cannot be read'}`);
  }
  const { keys, problems } = loaded;
  if (problems.length > 0) invalid(`jwks.${problems[0]}`);
  if (keys.length === 0) invalid('jwks.keys is empty; give at least one public key');
  const ids = keys.map(({ keyId }) => keyId).filter((keyId) => keyId !== undefined);
  if (new Set(ids).size < ids.length) invalid('two keys of jwks have the same kid; give each its own');
  return keys;
}

function readJwksUri(uri: string): string {
  const hostname = URL.parse(uri)?.hostname ?? '';
  if (uri.length > MAX_JWKS_URI_LENGTH || !isSecureAddress(uri) || new URL(uri).hash !== '') {
    invalid('jwks_uri must be an https URL, without user and fragment; http only on a loopback host');
  }
  // Clouds tell a machine its secrets at such an address. What a name leads to is the administrator's business; those
  // services speak no https, and only JSON of keys is read.
  if (/^169\.254\.|^\[fe[89ab]/i.test(hostname)) invalid('jwks_uri must not be a link-local address');
  return uri;
}

function readName(registration: ClientAuthRegistration): ClientAuthParameters {
  const [name, another] = namesOf(registration);
  if (name === undefined || another !== undefined) {
    const fields = certificateNameKinds.map((kind) => `tls_client_auth_${kind}`).join(', ');
    return invalid(`auth_method tls_client_auth needs exactly one of ${fields}`);
  }
  const problem = registeredNameProblem(name);
  if (problem !== undefined) invalid(`tls_client_auth_${name.kind} ${problem}`);
  return { certificateName: name };
}

function namesOf({ certificateNames = {} }: ClientAuthRegistration) {
  return certificateNameKinds.flatMap((kind) => {
    const value = certificateNames[kind];
    return value === undefined ? [] : [{ kind, value }];
  });
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
