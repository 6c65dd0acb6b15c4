import type { JsonObject } from '../registry/registry.ts';

/** What a client proves itself by, where that is no secret: its keys, where they are, or one name of its certificate. */
export interface ClientAuthParameters {
  readonly jwks?: { readonly keys: readonly JsonObject[] } | undefined;
  readonly jwksUri?: string | undefined;
  readonly tlsClientAuthSubjectDn?: string | undefined;
  readonly tlsClientAuthSanDns?: string | undefined;
  readonly tlsClientAuthSanUri?: string | undefined;
  readonly tlsClientAuthSanIp?: string | undefined;
  readonly tlsClientAuthSanEmail?: string | undefined;
}

/** Them alone, of a client; what is not set is left out. */
export function clientAuthParametersOf(client: ClientAuthParameters): ClientAuthParameters {
  const every = Object.entries(everyParameterOf(client));
  return Object.fromEntries(every.filter(([, value]) => value !== undefined));
}

/** Them alone, of a client, also those that are not set. */
export function everyParameterOf(client: ClientAuthParameters): Required<ClientAuthParameters> {
  return Object.fromEntries(
    parameterNames.map((name) => [name, client[name]]),
  ) as unknown as Required<ClientAuthParameters>;
}

const parameterNames = [
  'jwks',
  'jwksUri',
  'tlsClientAuthSubjectDn',
  'tlsClientAuthSanDns',
  'tlsClientAuthSanUri',
  'tlsClientAuthSanIp',
  'tlsClientAuthSanEmail',
] as const satisfies readonly (keyof ClientAuthParameters)[];
