import { nearest, OAuthError } from '@fleetgate/shared';
import type { FastifySchemaCompiler } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';

/** Validates what a route's schema describes. What is wrong is refused naming the field, never quoting a value. */
export const schemaCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const compiled = atFirstUse(schema);
  return (input: unknown) => {
    const value = httpPart === 'body' ? input : fromText(schema, input);
    const validator = compiled();
    return validator.Check(value)
      ? { value }
      : { error: new OAuthError('invalid_request', problem(schema, validator.Errors(value))) };
  };
};

/** Compiles a schema when it is asked for first: most processes never serve most routes. */
export function atFirstUse(schema: TSchema): () => Validator {
  let validator: Validator | undefined;
  return () => {
    validator ??= Compile(schema) as Validator;
    return validator;
  };
}

/**
 * Reads a body without a route's schema.
 * @throws OAuthError `invalid_request`, naming the field
 */
export function bodyReader<Schema extends TSchema>(schema: Schema): (value: unknown) => Static<Schema> {
  const compiled = Compile(schema);
  return (value) => {
    if (compiled.Check(value)) return value as Static<Schema>;
    throw new OAuthError('invalid_request', problem(schema, compiled.Errors(value)));
  };
}

/** A query comes as text: the digits of an integer become one, true and false a boolean, and nothing else changes. */
function fromText(schema: TSchema, input: unknown): unknown {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> };
  return Object.fromEntries(
    Object.entries(input as object).map(([name, value]) => [name, typed(properties[name]?.type, value)]),
  );
}

function typed(type: string | undefined, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (type === 'integer' && /^\d{1,15}$/.test(value)) return Number(value);
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

/** The first problem, in words; an unknown field first, since it is the likely reason of the others. */
function problem(schema: TSchema, errors: readonly SchemaError[]): string {
  const unknown = errors.find(({ keyword }) => keyword === 'additionalProperties');
  if (unknown !== undefined) return unknownField(schema, unknown);
  const [first] = errors;
  if (first === undefined) return 'the request does not fit its schema';
  const field = first.instancePath.slice(1).replaceAll('/', '.');
  return `${field === '' ? 'the body' : field.slice(0, 64)} ${messageOf(first)}`;
}

function messageOf({ message, params }: SchemaError): string {
  const { allowedValues } = params as { allowedValues?: readonly string[] };
  return allowedValues === undefined ? message : `must be one of ${allowedValues.join(', ')}`;
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

function unknownField(schema: TSchema, { params }: SchemaError): string {
  const [name = ''] = (params as { additionalProperties?: string[] }).additionalProperties ?? [];
  const known = Object.keys((schema as { properties?: object }).properties ?? {});
  const near = nearest(name, known);
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
  return `unknown field '${name.slice(0, 64)}'; ${hint}`;
}
