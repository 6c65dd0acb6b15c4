import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { referencePages } from './support/reference/pages.ts';

const root = resolve(import.meta.dirname, '..');
for (const [file, text] of await referencePages(root)) writeFileSync(resolve(root, file), text);
