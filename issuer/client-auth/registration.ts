import { isDeepStrictEqual } from 'node:util';
import { isSecureAddress, type Jwk, OAuthError } from '@fleetgate/shared';
import type { ClientRecord } from '../registry/registry.ts';
import { keptOf, loadClientKeys } from './client-key-set.ts';
import { checkAuthMethod } from './methods.ts';
import { type ClientAuthParameters, clientAuthParametersOf, everyParameterOf } from './parameters.ts';
import { certificateNameKinds, registeredNameProblem, registeredNames } from './registered-name.ts';

/** How a client is to authenticate, as it is asked to be registered. */
export interface ClientAuthRegistration extends Omit<ClientAuthParameters, 'jwks'> {
  /** A JWK set of public keys. */
  readonly jwks?: unknown;
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
 * Checks that a client of this method is registered with what it needs, and with nothing else.
 * @throws FleetgateError `not_supported` for an unknown method; OAuthError `invalid_request`, naming field and mend
 */
export function checkClientAuth(method: string, registration: ClientAuthRegistration): void {
  checkAuthMethod(method);
  const wants = wanted.get(method);
  refuseUseless(method, registration);
  if (wants === 'keys') checkKeys(method, registration);
  if (wants === 'name') checkName(registration);
}

/**
 * What is kept of a registration that was checked: of its keys what is public and known. What it does not set is
 * there, unset.
 */
export function clientAuthParameters(registration: ClientAuthRegistration): Required<ClientAuthParameters> {
  const { keys } = (registration.jwks ?? {}) as { keys?: readonly Jwk[] };
  const parameters = everyParameterOf(registration as ClientAuthParameters);
  return { ...parameters, jwks: keys && { keys: keys.map(keptOf) } };
}

/** Whether two states of a registration are proven by the same. */
export function hasSameProof(a: ClientRecord, b: ClientRecord): boolean {
  const [ofA, ofB] = [a, b].map((client) => [client.authMethod, clientAuthParametersOf(client)]);
  return isDeepStrictEqual(ofA, ofB);
}

function refuseUseless(method: string, registration: ClientAuthRegistration): void {
  const wants = wanted.get(method);
  const given = [
    ...(registration.jwks === undefined ? [] : [['jwks', 'keys']]),
    ...(registration.jwksUri === undefined ? [] : [['jwks_uri', 'keys']]),
    ...registeredNames(registration).map(({ kind }) => [`tls_client_auth_${kind}`, 'name']),
  ];
  const useless = given.find(([, kind]) => kind !== wants);
  if (useless === undefined) return;
  const methods = Array.from(wanted).filter(([, kind]) => kind === useless[1]);
  const mend = methods.map(([name]) => name).join(' or ');
  invalid(`${useless[0]} is of no use with auth_method ${method}; it is for ${mend}`);
}

function checkKeys(method: string, { jwks, jwksUri }: ClientAuthRegistration): void {
  if (jwks !== undefined && jwksUri !== undefined) invalid('jwks and jwks_uri exclude each other; give one');
  if (jwksUri !== undefined) checkJwksUri(jwksUri);
  else if (jwks !== undefined) checkJwks(jwks);
  else invalid(`auth_method ${method} needs jwks or jwks_uri`);
}

function checkJwks(jwks: unknown): void {
  if (JSON.stringify(jwks).length > MAX_JWKS_LENGTH) {
    invalid(`jwks must be at most ${MAX_JWKS_LENGTH} characters of JSON; jwks_uri may lead to more`);
  }
  let loaded: ReturnType<typeof loadClientKeys>;
  try {
    loaded = loadClientKeys(jwks);
  } catch (error) {
    invalid(`jwks ${error instanceof TypeError ? error.message : 'cannot be read'}`);
  }
  const { keys, problems } = loaded;
  if (problems.length > 0) invalid(`jwks.${problems[0]}`);
  if (keys.length === 0) invalid('jwks.keys is empty; give at least one public key');
  const ids = keys.map(({ keyId }) => keyId).filter((keyId) => keyId !== undefined);
  if (new Set(ids).size < ids.length) invalid('two keys of jwks have the same kid; give each its own');
}

function checkJwksUri(uri: string): void {
  const hostname = URL.parse(uri)?.hostname ?? '';
  if (uri.length > MAX_JWKS_URI_LENGTH || !isSecureAddress(uri) || new URL(uri).hash !== '') {
    invalid('jwks_uri must be an https URL, without user and fragment; http only on a loopback host');
  }
  // Clouds tell a machine its secrets at such an address. What a name leads to is the administrator's business; those
  // services speak no https, and only JSON of keys is read.
  if (/^169\.254\.|^\[fe[89ab]/i.test(hostname)) invalid('jwks_uri must not be a link-local address');
}

function checkName(registration: ClientAuthRegistration): void {
  const [name, another] = registeredNames(registration);
  if (name === undefined || another !== undefined) {
    const fields = certificateNameKinds.map((kind) => `tls_client_auth_${kind}`).join(', ');
    invalid(`auth_method tls_client_auth needs exactly one of ${fields}`);
  }
  const problem = registeredNameProblem(name);
  if (problem !== undefined) invalid(`tls_client_auth_${name.kind} ${problem}`);
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
