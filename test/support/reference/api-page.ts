import type { ApiDocument, ApiSchema, Operation } from './api-document.ts';
import { table } from './table.ts';

/** An OpenAPI document as a page of Markdown: one section for each tag, one for each operation in it, then the schemas. */
export function apiPage(document: ApiDocument): string {
  const sections = new Map<string, string[]>();
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? 'other';
      sections.set(tag, [...(sections.get(tag) ?? []), operationSection(method, path, operation)]);
    }
  }
  return [
    '# HTTP API\n',
    'Made by `npm run docs:reference` from `/openapi.json`; do not edit. What the API is for, by example: [issuer.md](issuer.md).\n',
    `${document.info.description}\n`,
    ...Array.from(sections, ([tag, operations]) => `## ${capital(tag)}\n\n${operations.join('\n')}`),
    '## Schemas\n',
    ...Object.entries(document.components.schemas).map(
      ([name, schema]) => `### ${name}\n\n${fieldTable(schema)}`,
    ),
  ].join('\n');
}

function operationSection(method: string, path: string, operation: Operation): string {
  const { summary = '', description = '', parameters = [], requestBody, responses } = operation;
  const parts = [`### ${method.toUpperCase()} ${path}\n`, `${summary}.\n`, `${description}\n`];
  // A parameter in the path has its name in the heading.
  const rows = parameters
    .filter((parameter) => parameter.in !== 'path')
    .map((parameter) => row(parameter.name, parameter.in, parameter.schema, parameter.description));
  if (rows.length > 0) parts.push(table(['parameter', 'in', 'type', ''], rows));
  for (const [type, { schema }] of Object.entries(requestBody?.content ?? {}).slice(0, 1)) {
    const types = Object.keys(requestBody?.content ?? {});
    parts.push(`Body, \`${(types.length > 1 ? types : [type]).join('` or `')}\`:\n`, fieldTable(schema));
  }
  parts.push(table(['status', 'answer', 'headers'], Object.entries(responses).map(responseRow)));
  return parts.join('\n');
}

function responseRow([status, response]: [string, Operation['responses'][string]]): string[] {
  const schema = Object.values(response.content ?? {})[0]?.schema;
  const body = schema === undefined ? '' : `: ${typeOf(schema)}`;
  const headers = Object.keys(response.headers ?? {}).map((name) => `\`${name}\``);
  return [status === 'default' ? 'else' : status, `${response.description}${body}`, headers.join(', ')];
}

function fieldTable(schema: ApiSchema): string {
  const { properties = {}, required = [] } = schema;
  const rows = Object.entries(properties).map(([name, field]) =>
    row(name, required.includes(name) ? 'yes' : '', field, field.description),
  );
  return table(['field', 'always', 'type', ''], rows);
}

function row(
  name: string,
  middle: string,
  schema: ApiSchema,
  description = schema.description ?? '',
): string[] {
  return [`\`${name}\``, middle, typeOf(schema), description];
}

function typeOf(schema: ApiSchema): string {
  const { $ref, type, anyOf, items, properties, additionalProperties } = schema;
  if ($ref !== undefined) {
    const name = $ref.slice($ref.lastIndexOf('/') + 1);
    return `[${name}](#${name.toLowerCase()})`;
  }
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (anyOf !== undefined) return anyOf.map(typeOf).join(' or ');
  if (type === 'array') return `list of ${items === undefined ? 'anything' : typeOf(items)}`;
  if (properties !== undefined) {
    return Object.entries(properties)
      .map(([name, field]) => `\`${name}\` ${typeOf(field)}`)
      .join(', ');
  }
  if (typeof additionalProperties === 'object') {
    const type = typeOf(additionalProperties);
    return `object of ${additionalProperties.anyOf === undefined ? type : `(${type})`}`;
  }
  return type === undefined ? 'anything' : String(type);
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
