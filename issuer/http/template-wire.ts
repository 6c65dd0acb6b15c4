import Type from 'typebox';
import type { Template as CoreTemplate } from '../fleet/template.ts';
import type { TemplateRecord } from '../registry/fleet-registry.ts';
import { clientAuthFields, clientAuthNames } from './client-auth-fields.ts';
import { registrationFields } from './client-wire.ts';
import { time } from './secret-wire.ts';

const { jwks: _jwks, jwks_uri: _uri, ...certificateFields } = clientAuthFields;
const { jwks: _keys, jwks_uri: _address, ...certificateNames } = clientAuthNames;

const pattern = (of: string) => Type.String({ description: `pattern of ${of}` });

/** What a template says. A pattern has places, as `{serial}`, that are filled for each device. */
const fields = {
  id: Type.String({
    description:
      'pattern of the client ids, as `sensor-{serial}`; `{n}` is the number of the row, `{n:06}` with six digits, `{uuid}` a new UUID',
  }),
  name: pattern('the names'),
  scope: registrationFields.scope,
  audience: registrationFields.audience,
  auth_method: registrationFields.auth_method,
  token_lifetime_seconds: registrationFields.token_lifetime_seconds,
  secret_lifetime_seconds: Type.Integer({
    minimum: 1,
    description: 'how long after their making secrets end. Default: they do not',
  }),
  group: pattern('the groups'),
  labels: Type.Record(Type.String(), Type.String(), { description: 'a pattern for each label' }),
  metadata: registrationFields.metadata,
  ...certificateFields,
};

const coreNames = {
  id: 'id',
  name: 'name',
  scope: 'scope',
  audience: 'audience',
  auth_method: 'authMethod',
  token_lifetime_seconds: 'tokenLifetimeSeconds',
  secret_lifetime_seconds: 'secretLifetimeSeconds',
  group: 'group',
  labels: 'labels',
  metadata: 'metadata',
  ...certificateNames,
} as const satisfies Record<string, keyof CoreTemplate>;

/** The body of `PUT /v1/templates/{name}`. */
export const TemplateBody = Type.Object(
  { ...Type.Partial(Type.Object(fields)).properties, id: fields.id },
  { additionalProperties: false },
);

/** A template as the API shows it. */
export const Template = Type.Object(
  {
    name: Type.String({ description: 'name of the template' }),
    version: Type.Integer({ description: 'from 1' }),
    created_at: Type.String({ format: 'date-time', description: 'when this version was kept' }),
    template: TemplateBody,
  },
  { $id: 'Template' },
);

/** What a body that fits {@link TemplateBody} says. Fields stand in one order, so that the same is seen to be the same. */
export function toTemplate(body: object): CoreTemplate {
  const given = new Map<string, unknown>(Object.entries(body));
  return Object.fromEntries(
    Object.entries(coreNames)
      .filter(([wireName]) => given.has(wireName))
      .map(([wireName, name]) => [name, given.get(wireName)]),
  ) as unknown as CoreTemplate;
}

export function templateView({ name, version, template, createdAtMs }: TemplateRecord) {
  return {
    name,
    version,
    created_at: time(createdAtMs),
    template: Object.fromEntries(
      Object.entries(coreNames)
        .map(([wireName, coreName]) => [wireName, template[coreName]])
        .filter(([, value]) => value !== undefined),
    ),
  };
}
