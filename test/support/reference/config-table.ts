import { configSchema } from '../../../cli/config/schema.ts';
import { table } from './table.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly default?: unknown;
  readonly description?: string;
}

/** The keys of the configuration file with their defaults, in the order of the schema. */
export function configTable(): string {
  return table(['key', 'default', 'what'], rowsOf(configSchema as unknown as Schema, ''));
}

function rowsOf(schema: Schema, path: string): string[][] {
  const nested = schema.properties ?? schema.items?.properties;
  const own = [`\`${path}\``, defaultOf(schema), schema.description ?? ''];
  if (nested === undefined) return [own];
  const isList = schema.properties === undefined;
  const prefix = isList ? `${path}.N.` : path === '' ? '' : `${path}.`;
  const below = Object.entries(nested).flatMap(([key, child]) => rowsOf(child, `${prefix}${key}`));
  return isList ? [own, ...below] : below;
}

const defaultOf = ({ default: value }: Schema) => (value === undefined ? '' : `\`${JSON.stringify(value)}\``);
