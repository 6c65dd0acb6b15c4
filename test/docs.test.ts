import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { faultCodes, oauthErrorCodes, reasonCodes, tokenErrorCodes } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { configSchema } from '../cli/config/schema.ts';
import { apiDocument } from './support/api-document.ts';
import { apiPage } from './support/api-page.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

/** First cells, in backticks, of the table rows under a heading. */
function firstCells(markdown: string, heading: string): string[] {
  const section = markdown.split(/^#+ /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return Array.from(section.matchAll(/^\| `([^`]+)` \|/gm), ([, cell]) => cell as string);
}

describe('docs/error-codes.md has each code of the source and no other', () => {
  test.each([
    ['OAuth errors', oauthErrorCodes],
    ['Tokens', tokenErrorCodes],
    ['Refusals', reasonCodes],
    ['Faults', faultCodes],
  ] as const)('%s', (heading, codes) => {
    expect(firstCells(read('docs/error-codes.md'), heading).sort()).toEqual([...codes].sort());
  });
});

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  default?: unknown;
}

function keysOf(schema: Schema, path: string): [string, unknown][] {
  const nested = schema.properties ?? schema.items?.properties;
  if (nested === undefined) return [[path, schema.default]];
  const below = schema.properties === undefined ? `${path}.N` : path;
  const own: [string, unknown][] = schema.properties === undefined ? [[path, schema.default]] : [];
  return [
    ...own,
    ...Object.entries(nested).flatMap(([key, child]) =>
      keysOf(child, below === '' ? key : `${below}.${key}`),
    ),
  ];
}

test('docs/configuration.md has each key of the schema with its default, and no other', () => {
  const rows = Array.from(
    read('docs/configuration.md').matchAll(/^\| `([^`]+)` \| (?:`([^`]*)`)? ?\|/gm),
    ([, key, value]) => [key, value],
  );
  const keys = keysOf(configSchema as unknown as Schema, '').map(([key, value]) => [
    key,
    value === undefined ? undefined : JSON.stringify(value),
  ]);
  expect(rows).toEqual(keys);
});

test('docs/http-api.md is what npm run docs:api makes of the routes', async () => {
  expect(read('docs/http-api.md')).toBe(apiPage(await apiDocument()));
});

test('a relative link in the documents leads to a file', () => {
  const documents = [
    'README.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ];
  for (const document of documents) {
    for (const [, target] of read(document).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      expect(() => readdirSync(join(root, document, '..')), document).not.toThrow();
      expect(
        () => readFileSync(join(root, document, '..', target as string)),
        `${document}: ${target}`,
      ).not.toThrow(/ENOENT/);
    }
  }
});
