import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createProgram as createAgentProgram } from '../../../agent/cli.ts';
import { createProgram } from '../../../cli/program.ts';
import { apiDocument } from './api-document.ts';
import { apiPage } from './api-page.ts';
import { codeTables } from './code-tables.ts';
import { commandPage } from './command-page.ts';
import { configTable } from './config-table.ts';
import { metricTable } from './metric-table.ts';

/** The pages of the reference as the source has them: those made as a whole, and those in which tables are made. */
export async function referencePages(root: string): Promise<Map<string, string>> {
  const withTables = (file: string, tables: Readonly<Record<string, string>>) =>
    [file, replaceTables(readFileSync(join(root, file), 'utf8'), tables, file)] as const;
  return new Map([
    ['docs/http-api.md', apiPage(await apiDocument())],
    ['docs/cli.md', commandPage([await createProgram(), createAgentProgram()])],
    withTables('docs/configuration.md', { keys: configTable() }),
    withTables('docs/error-codes.md', codeTables()),
    withTables('docs/observability.md', { metrics: await metricTable() }),
  ]);
}

/** Each table stands between two comments, the first of which names it. */
function replaceTables(page: string, tables: Readonly<Record<string, string>>, file: string): string {
  return Object.entries(tables).reduce((text, [name, table]) => {
    const begin = `<!-- ${name}: made by npm run docs:reference -->\n`;
    const from = text.indexOf(begin);
    const to = text.indexOf('<!-- end -->', from);
    if (from === -1 || to === -1) throw new Error(`${file} has no place for the table '${name}'`);
    return `${text.slice(0, from)}${begin}\n${table}\n${text.slice(to)}`;
  }, page);
}
