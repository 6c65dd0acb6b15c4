import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { faultCodes, oauthErrorCodes, reasonCodes, tokenErrorCodes } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { codesByKind } from '../cli/explained-codes.ts';
import { referencePages } from './support/reference/pages.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

test('the reference is what npm run docs:reference makes of the source', async () => {
  for (const [file, text] of await referencePages(root)) expect(read(file), file).toBe(text);
});

test('each code is explained once', () => {
  const codes = [...oauthErrorCodes, ...tokenErrorCodes, ...reasonCodes, ...faultCodes];
  const explained = Object.values(codesByKind).flatMap((ofKind) => Object.keys(ofKind));
  expect(explained.sort()).toEqual([...codes].sort());
});

test('a relative link in the documents leads to a file', () => {
  const documents = [
    'README.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    ...['docs', 'docs/tasks'].flatMap((folder) =>
      readdirSync(join(root, folder))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `${folder}/${name}`),
    ),
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
