import Type, { type Static } from 'typebox';
import type { ClientChange } from '../client-changes.ts';
import type { ClientRegistration } from '../client-registration.ts';
import type { ClientOrigin, ClientRecord, NewClientRecord } from '../registry/registry.ts';
import { isLiveSecret } from '../secrets.ts';
import { clientAuthFields, clientAuthNames, clientAuthView } from './client-auth-fields.ts';
import { readSecretEnd, secretEnd } from './secret-wire.ts';

/** What can be registered of a client. Limits and meaning are the core's; this is the shape. */
export const registrationFields = {
  name: Type.String({ description: 'for people' }),
  scope: Type.String({ description: 'scopes it may ask for, separated by spaces. Default: none' }),
  audience: Type.Array(Type.String(), {
    description: "audiences it may ask for. Default: the issuer's `default_audience`",
  }),
  auth_method: Type.String({ description: 'how it authenticates. Default: `client_secret_basic`' }),
  ...clientAuthFields,
  group: Type.String({ description: 'group, for `{group}` in scopes and policies' }),
  labels: Type.Record(Type.String(), Type.String(), { description: 'names and values to find it by' }),
  metadata: Type.Record(Type.String(), Type.Unknown(), { description: 'anything else, kept as it is' }),
  token_lifetime_seconds: Type.Integer({ description: "lifetime of its tokens. Default: the issuer's" }),
};
const clientId = Type.String({ description: '`[A-Za-z0-9._-]{1,64}`. Default: a UUID' });

/** The name of each field in the core. */
const coreNames = {
  name: 'name',
  scope: 'scope',
  audience: 'audience',
  auth_method: 'authMethod',
  ...clientAuthNames,
  group: 'group',
  labels: 'labels',
  metadata: 'metadata',
  token_lifetime_seconds: 'tokenLifetimeSeconds',
} as const satisfies Record<keyof typeof registrationFields, keyof ClientRegistration>;

/** The body of `POST /v1/clients`. */
export const NewClient = Type.Object(
  {
    client_id: Type.Optional(clientId),
    ...Type.Partial(Type.Object(registrationFields)).properties,
    secret_expires_at: Type.Optional(secretEnd),
  },
  { additionalProperties: false },
);

const nullable = <Schema extends Type.TSchema>(schema: Schema) =>
  Type.Optional(Type.Union([schema, Type.Null()]));

const labelPatch = Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), {
  description: 'merged name by name',
});

/** The body of `PATCH /v1/clients/{client_id}`, a merge patch (RFC 7396). */
export const ClientPatch = Type.Object(
  {
    ...Object.fromEntries(
      Object.entries(registrationFields).map(([name, schema]) => [name, nullable(schema)]),
    ),
    labels: nullable(labelPatch),
  },
  { additionalProperties: false },
);

const moment = (description: string) => Type.String({ format: 'date-time', description });

/** A client as the API shows it. */
export const Client = Type.Object(
  {
    client_id: Type.String(),
    ...registrationFields,
    name: Type.Optional(registrationFields.name),
    ...Type.Partial(Type.Object(clientAuthFields)).properties,
    group: Type.Optional(registrationFields.group),
    token_lifetime_seconds: Type.Optional(registrationFields.token_lifetime_seconds),
    state: Type.Enum(['active', 'quarantined'], { description: 'whether tokens are issued to it' }),
    quarantined_at: Type.Optional(moment('since when it is in quarantine')),
    quarantine_reason: Type.Optional(Type.String({ description: 'why it is in quarantine' })),
    template: Type.Optional(Type.String({ description: 'template it was made by' })),
    template_version: Type.Optional(Type.Integer({ description: 'version of it' })),
    job: Type.Optional(Type.String({ description: 'provisioning job it was made by' })),
    enrollment: Type.Optional(Type.String({ description: 'enrollment it came by' })),
    created_at: moment('when it was registered'),
    updated_at: moment('when it was changed last'),
    last_seen_on: Type.Optional(
      Type.String({
        format: 'date',
        description: 'the day a token was issued to it last, or the day before; not there when none was',
      }),
    ),
    secret_expires_at: Type.Optional(
      moment('when the next of its live secrets ends; where all have ended, when the last did'),
    ),
  },
  { $id: 'Client' },
);

export function toRegistration(body: Static<typeof NewClient>): ClientRegistration {
  return {
    clientId: body.client_id,
    ...toCore(body),
    secretExpiresAtMs: readSecretEnd('secret_expires_at', body.secret_expires_at),
  };
}

/** What a body that fits {@link ClientPatch} asks for. */
export const toChange = (body: object): ClientChange => toCore(body);

function toCore(body: object): Omit<ClientRegistration, 'clientId'> {
  const given = new Map(Object.entries(body));
  return Object.fromEntries(
    Object.entries(coreNames)
      .filter(([wireName]) => given.has(wireName))
      .map(([wireName, name]) => [name, given.get(wireName)]),
  );
}

/** A client as the API shows it: one flat object, never with a secret. See {@link clientTimes} for the rest. */
export function clientView(
  client: NewClientRecord & Partial<Pick<ClientRecord, 'quarantine'>>,
  defaultAudience: readonly string[],
) {
  const { quarantine } = client;
  return {
    client_id: client.clientId,
    ...(client.name === undefined ? {} : { name: client.name }),
    scope: client.scope,
    audience: client.audience.length > 0 ? client.audience : defaultAudience,
    auth_method: client.authMethod,
    ...clientAuthView(client),
    ...(client.group === undefined ? {} : { group: client.group }),
    labels: client.labels,
    metadata: client.metadata,
    ...(client.tokenLifetimeSeconds === undefined
      ? {}
      : { token_lifetime_seconds: client.tokenLifetimeSeconds }),
    state: quarantine === undefined ? 'active' : 'quarantined',
    ...(quarantine === undefined
      ? {}
      : {
          quarantined_at: new Date(quarantine.atMs).toISOString(),
          quarantine_reason: quarantine.reason,
        }),
    ...originView(client.origin),
    created_at: new Date(client.createdAtMs).toISOString(),
    updated_at: new Date(client.updatedAtMs).toISOString(),
  };
}

/**
 * What time and use change of a client. No part of what its entity tag names: a device that asks for a token spoils no
 * change that is under way.
 */
export function clientTimes(
  {
    secrets,
    lastSeenAtMs,
  }: Pick<NewClientRecord & Partial<Pick<ClientRecord, 'lastSeenAtMs'>>, 'secrets' | 'lastSeenAtMs'>,
  nowMs: number,
) {
  const live = secrets.filter((secret) => isLiveSecret(secret, nowMs));
  const ends = (live.length > 0 ? live : secrets).flatMap(({ expiresAtMs = [] }) => expiresAtMs);
  const endMs = live.length > 0 ? Math.min(...ends) : Math.max(...ends);
  return {
    ...(lastSeenAtMs === undefined
      ? {}
      : { last_seen_on: new Date(lastSeenAtMs).toISOString().slice(0, 10) }),
    ...(ends.length === 0 ? {} : { secret_expires_at: new Date(endMs).toISOString() }),
  };
}

function originView(origin: ClientOrigin | undefined) {
  if (origin === undefined) return {};
  const { template, templateVersion, job, enrollment } = origin;
  return {
    template,
    template_version: templateVersion,
    ...(job !== undefined && { job: job.id }),
    ...(enrollment !== undefined && { enrollment }),
  };
}
