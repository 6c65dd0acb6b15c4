import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { apiDocument } from './support/api-document.ts';
import { apiPage } from './support/api-page.ts';

writeFileSync(resolve(import.meta.dirname, '../docs/http-api.md'), apiPage(await apiDocument()));
