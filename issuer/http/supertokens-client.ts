import { randomUUID } from 'node:crypto';
import { OAuthError } from '@fleetgate/shared';
import Type, { type Static } from 'typebox';
import type { ClientReplacement } from '../client-changes.ts';
import { type ClientRegistration, registered } from '../client-registration.ts';
import type { NewClientRecord } from '../registry/registry.ts';

const text = Type.Optional(Type.String());
const texts = Type.Optional(Type.Array(Type.String()));
const textsOrNull = Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()]));
const lifespan = Type.Optional(Type.Union([Type.String(), Type.Null()]));

/** What the client credentials grant does not use: kept, and echoed. */
const echoed = {
  redirectUris: textsOrNull,
  postLogoutRedirectUris: texts,
  enableRefreshTokenRotation: Type.Optional(Type.Boolean()),
  authorizationCodeGrantAccessTokenLifespan: lifespan,
  authorizationCodeGrantIdTokenLifespan: lifespan,
  authorizationCodeGrantRefreshTokenLifespan: lifespan,
  clientCredentialsGrantAccessTokenLifespan: lifespan,
  implicitGrantAccessTokenLifespan: lifespan,
  implicitGrantIdTokenLifespan: lifespan,
  refreshTokenGrantAccessTokenLifespan: lifespan,
  refreshTokenGrantIdTokenLifespan: lifespan,
  refreshTokenGrantRefreshTokenLifespan: lifespan,
  clientUri: text,
  allowedCorsOrigins: texts,
  responseTypes: textsOrNull,
  logoUri: text,
  policyUri: text,
  tosUri: text,
};

/** What SuperTokens answers where nothing was given. `postLogoutRedirectUris` then is not in its answer. */
const defaults: Readonly<Record<Exclude<keyof typeof echoed, 'postLogoutRedirectUris'>, unknown>> = {
  redirectUris: null,
  enableRefreshTokenRotation: false,
  authorizationCodeGrantAccessTokenLifespan: null,
  authorizationCodeGrantIdTokenLifespan: null,
  authorizationCodeGrantRefreshTokenLifespan: null,
  clientCredentialsGrantAccessTokenLifespan: null,
  implicitGrantAccessTokenLifespan: null,
  implicitGrantIdTokenLifespan: null,
  refreshTokenGrantAccessTokenLifespan: null,
  refreshTokenGrantIdTokenLifespan: null,
  refreshTokenGrantRefreshTokenLifespan: null,
  clientUri: '',
  allowedCorsOrigins: [],
  responseTypes: null,
  logoUri: '',
  policyUri: '',
  tosUri: '',
};

/** SuperTokens' fields of a client, to create one. Others are ignored, as SuperTokens does. */
export const RecipeClient = Type.Object({
  clientId: text,
  clientName: text,
  clientSecret: text,
  scope: text,
  audience: texts,
  grantTypes: textsOrNull,
  tokenEndpointAuthMethod: text,
  metadata: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()])),
  ...echoed,
});
export type RecipeClient = Static<typeof RecipeClient>;

/** The same to change one: what is not given stays. */
export const RecipeClientUpdate = Type.Object({ ...RecipeClient.properties, clientId: Type.String() });
export type RecipeClientUpdate = Static<typeof RecipeClientUpdate>;

/** @throws OAuthError `invalid_request` for a lifespan that is none */
export function toRegistration(body: RecipeClient): ClientRegistration {
  return {
    ...given(body),
    clientId: body.clientId ?? `stcl_${randomUUID()}`,
    clientSecret: body.clientSecret,
  };
}

/** @throws OAuthError `invalid_request` for a lifespan that is none */
export function toReplacement(body: RecipeClientUpdate): ClientReplacement {
  const { supertokens, ...registration } = given(body);
  return (current) => ({
    ...registered(current),
    ...registration,
    supertokens: { ...current.supertokens, ...supertokens },
  });
}

/** What the body holds, by the core's names; null is what a client has that nothing was given for. */
function given(body: RecipeClient): Omit<ClientRegistration, 'clientId'> {
  const { clientCredentialsGrantAccessTokenLifespan: lifespan } = body;
  if (body.tokenEndpointAuthMethod === 'oscore') {
    // The answer of this route has no place for a context.
    throw new OAuthError('invalid_request', 'tokenEndpointAuthMethod oscore is registered by /v1/clients');
  }
  const fields = {
    name: body.clientName,
    scope: body.scope,
    audience: body.audience,
    authMethod: body.tokenEndpointAuthMethod,
    grantTypes: body.grantTypes,
    metadata: body.metadata,
    tokenLifetimeSeconds: typeof lifespan === 'string' ? lifespanSeconds(lifespan) : lifespan,
    supertokens: Object.fromEntries(
      Object.keys(echoed)
        .map((field) => [field, body[field as keyof typeof echoed]])
        .filter(([, value]) => value !== undefined),
    ),
  };
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([field, value]) => [field, value ?? undefined]),
  );
}

/** The client as SuperTokens answers it, with each of its fields but the secret. */
export function recipeView(client: NewClientRecord) {
  return {
    clientId: client.clientId,
    clientName: client.name ?? '',
    scope: client.scope,
    ...defaults,
    ...client.supertokens,
    clientCredentialsGrantAccessTokenLifespan: lifespanOf(client),
    tokenEndpointAuthMethod: client.authMethod,
    audience: client.audience,
    grantTypes: client.grantTypes,
    createdAt: new Date(client.createdAtMs).toISOString(),
    updatedAt: new Date(client.updatedAtMs).toISOString(),
    metadata: client.metadata,
  };
}

/** The lifespan as it was written here, if it has not been changed elsewhere since. */
function lifespanOf({ tokenLifetimeSeconds: seconds, supertokens }: NewClientRecord): string | null {
  if (seconds === undefined) return null;
  const { clientCredentialsGrantAccessTokenLifespan: written } = supertokens;
  return typeof written === 'string' && lifespanSeconds(written) === seconds ? written : `${seconds}s`;
}

const unitSeconds: ReadonlyMap<string, number> = new Map([
  ['h', 3600],
  ['m', 60],
  ['s', 1],
]);

/** Seconds of a lifespan such as `1h`, `30m` or `1h30m`. */
function lifespanSeconds(lifespan: string): number {
  if (!/^(\d{1,7}[hms])+$/.test(lifespan)) {
    throw new OAuthError(
      'invalid_request',
      'clientCredentialsGrantAccessTokenLifespan must be like 1h, 30m or 90s',
    );
  }
  let seconds = 0;
  for (const [, count, unit = ''] of lifespan.matchAll(/(\d+)([hms])/g)) {
    seconds += Number(count) * (unitSeconds.get(unit) ?? 0);
  }
  return seconds;
}
