import { nearest } from '@fleetgate/shared';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';

/** Keys and indexes from the root of a value. */
export type Path = readonly (string | number)[];

/** One thing wrong with a value, at `path`. The words never hold the value itself: it may be a secret. */
export interface SchemaProblem {
  readonly path: Path;
  /** Whether the key at `path` is wrong rather than its value. */
  readonly isAboutKey: boolean;
  readonly words: string;
}

const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  strict: true,
  allowUnionTypes: true,
  useDefaults: true,
});
const validators = new WeakMap<object, ValidateFunction>();

/**
 * What is wrong with `value` by a JSON Schema, in words. Empty when it is valid; defaults of the schema are then
 * filled in. An unknown key names the nearest known one; of a union only the branch that was meant is reported.
 */
export function schemaProblems(value: unknown, schema: object): SchemaProblem[] {
  let validate = validators.get(schema);
  if (validate === undefined) {
    validate = ajv.compile(schema);
    validators.set(schema, validate);
  }
  if (validate(value)) return [];
  return reduceUnions(validate.errors ?? []).map(toProblem);
}

// Ajv reports the errors of every branch of an `anyOf` and then the `anyOf` itself. Keep what the writer meant:
// the branches of the right type; when none is, one error that names all the types or constants.
function reduceUnions(errors: readonly ErrorObject[]): ErrorObject[] {
  let kept: ErrorObject[] = [];
  for (const error of errors) {
    if (error.keyword !== 'anyOf') {
      kept.push(error);
      continue;
    }
    const isOfUnion = (other: ErrorObject): boolean =>
      other.schemaPath.startsWith(`${error.schemaPath}/`) &&
      other.instancePath.startsWith(error.instancePath);
    const branches = Map.groupBy(
      kept.filter(isOfUnion),
      (other) => other.schemaPath.slice(error.schemaPath.length + 1).split('/', 1)[0],
    );
    kept = kept.filter((other) => !isOfUnion(other));
    kept.push(...unionErrors(error, Array.from(branches.values())));
  }
  return kept;
}

function unionErrors(union: ErrorObject, branches: readonly ErrorObject[][]): ErrorObject[] {
  const isHere = (error: ErrorObject): boolean => error.instancePath === union.instancePath;
  const isOfOtherType = (error: ErrorObject): boolean =>
    isHere(error) && (error.keyword === 'type' || error.keyword === 'const');
  const meant = branches.filter((branch) => !branch.some(isOfOtherType));
  if (meant.length > 0) return meant.reduce((best, branch) => (branch.length < best.length ? branch : best));
  const all = branches.flat();
  const constants = all.filter((error) => isHere(error) && error.keyword === 'const');
  if (constants.length > 0) {
    return [
      {
        ...union,
        keyword: 'enum',
        params: { allowedValues: constants.map((error) => error.params['allowedValue']) },
      },
    ];
  }
  return [
    {
      ...union,
      keyword: 'type',
      params: { type: all.filter(isOfOtherType).map((error) => error.params['type']) },
    },
  ];
}

function toProblem(error: ErrorObject): SchemaProblem {
  const path = pointerPath(error.instancePath);
  if (error.keyword === 'additionalProperties') {
    const key = String(error.params['additionalProperty']);
    return { path: [...path, key], isAboutKey: true, words: unknownKeyWords(key, error.parentSchema) };
  }
  if (error.keyword === 'required') {
    return {
      path,
      isAboutKey: false,
      words: `${name(path)}: key '${error.params['missingProperty']}' is missing`,
    };
  }
  return { path, isAboutKey: false, words: `${name(path)} ${valueWords(error)}` };
}

function unknownKeyWords(key: string, parentSchema: ErrorObject['parentSchema']): string {
  const known = Object.keys((parentSchema?.['properties'] ?? {}) as object);
  const near = nearest(key, known);
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean '${near}'?`;
  return `unknown key '${key}'; ${hint}`;
}

function valueWords(error: ErrorObject): string {
  const { keyword, params } = error;
  switch (keyword) {
    case 'type': {
      const types = [params['type']].flat() as string[];
      return `must be ${types.map((type) => typeWords[type] ?? type).join(' or ')}, not ${kindWords(error.data)}`;
    }
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}`;
    case 'enum': {
      const candidates = params['allowedValues'] as unknown[];
      const near = typeof error.data === 'string' ? nearest(error.data, candidates.map(String)) : undefined;
      return `must be one of ${candidates.join(', ')}${near === undefined ? '' : `; did you mean '${near}'?`}`;
    }
    default:
      return error.message ?? 'is not valid';
  }
}

const typeWords: Readonly<Record<string, string>> = {
  object: 'a map',
  array: 'a list',
  string: 'a string',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

function kindWords(value: unknown): string {
  if (value === null) return "empty (a value that begins with '#' must be quoted)";
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string' || typeof value === 'number') return `a ${typeof value}`;
  return 'a map';
}

function name(path: Path): string {
  const last = path.at(-1);
  if (last === undefined) return 'the document';
  return typeof last === 'number' ? `item ${last + 1}` : `'${last}'`;
}

// RFC 6901 §4. An index looks like a key here; only the value could tell, and no schema of ours has digits as keys.
function pointerPath(pointer: string): (string | number)[] {
  const segments = pointer.split('/').slice(1);
  return segments.map((segment) =>
    /^\d+$/.test(segment) ? Number(segment) : segment.replaceAll('~1', '/').replaceAll('~0', '~'),
  );
}
