import { OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { atFirstUse } from './schema.ts';
import { MAX_BODY_BYTES } from './server.ts';
import { parseStrictJson } from './strict-json.ts';

/** Reads what SuperTokens' routes are sent, and says in its words what is wrong with it. */
export function readRecipeInput(app: FastifyInstance): void {
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
    async (_request: unknown, bytes: Buffer) => {
      try {
        return parseStrictJson(bytes);
      } catch {
        throw invalidJson();
      }
    },
  );
  app.setValidatorCompiler(recipeSchemaCompiler);
}

const recipeSchemaCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const compiled = atFirstUse(schema);
  return (input: unknown) => {
    const validator = compiled();
    if (validator.Check(input)) return { value: input };
    if (typeof input !== 'object' || input === null || Array.isArray(input)) return { error: invalidJson() };
    const [first] = validator.Errors(input);
    // The instance path of a field that is missing is that of the object it is missing from.
    const [missing] =
      (first?.params as { requiredProperties?: string[] } | undefined)?.requiredProperties ?? [];
    const field = missing ?? first?.instancePath.split('/')[1] ?? '';
    return { error: httpPart === 'body' ? invalidField(field) : missingInQuery(field) };
  };
};

const invalidJson = () => new OAuthError('invalid_request', 'Invalid Json Input');

const invalidField = (field: string) =>
  new OAuthError('invalid_request', `Field name '${field.slice(0, 64)}' is invalid in JSON input`);

const missingInQuery = (field: string) =>
  new OAuthError('invalid_request', `Field name '${field.slice(0, 64)}' is missing in GET request`);
