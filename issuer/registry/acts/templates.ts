import type { Template } from '../../fleet/template.ts';
import type { FleetRegistry, TemplateRecord } from '../fleet-registry.ts';
import { sql } from './statement.ts';
import type { Store } from './store.ts';

interface TemplateRow {
  name: string;
  version: number;
  template: string;
  created_at_ms: number;
}

/** Versions of a template that are kept: what was made by an older one keeps what it was made with. */
const MAX_VERSIONS = 100;

const newest = sql<[name: string], TemplateRow>(
  'SELECT * FROM templates WHERE name = ? ORDER BY version DESC LIMIT 1',
);
const exact = sql<[name: string, version: number], TemplateRow>(
  'SELECT * FROM templates WHERE name = ? AND version = ?',
);
const list = sql<[], TemplateRow>(`
  SELECT * FROM templates AS one
  WHERE version = (SELECT max(version) FROM templates WHERE name = one.name) ORDER BY name`);
const count = sql<[], { names: number }>('SELECT count(DISTINCT name) AS names FROM templates');
const insert = sql<[name: string, version: number, template: string, createdAtMs: number]>(
  'INSERT INTO templates (name, version, template, created_at_ms) VALUES (?, ?, ?, ?)',
);
const removeOld = sql<[name: string, version: number]>(
  'DELETE FROM templates WHERE name = ? AND version <= ?',
);
const remove = sql<[name: string]>('DELETE FROM templates WHERE name = ?');

/** The acts on templates. */
export function templateActs({
  read,
  write,
  record,
}: Store): Pick<FleetRegistry, 'putTemplate' | 'findTemplate' | 'listTemplates' | 'deleteTemplate'> {
  return {
    putTemplate: ({ name, template, createdAtMs }, maxTemplates, event) =>
      write(function* () {
        const before = yield* newest.get(name);
        const text = JSON.stringify(template);
        if (before?.template === text) return { outcome: 'unchanged', version: before.version } as const;
        if (before === undefined && ((yield* count.get())?.names ?? 0) >= maxTemplates) {
          return { outcome: 'full' } as const;
        }
        const version = (before?.version ?? 0) + 1;
        yield* insert.run(name, version, text, createdAtMs);
        yield* removeOld.run(name, version - MAX_VERSIONS);
        yield* record(event);
        return { outcome: 'created', version } as const;
      }),
    findTemplate: (name, version) =>
      read(function* () {
        return toTemplate(yield* version === undefined ? newest.get(name) : exact.get(name, version));
      }),
    listTemplates: () =>
      read(function* () {
        return (yield* list.all()).map((row) => toTemplate(row) as TemplateRecord);
      }),
    deleteTemplate: (name, event) =>
      write(function* () {
        if ((yield* remove.run(name)) === 0) return false;
        yield* record(event);
        return true;
      }),
  };
}

function toTemplate(row: TemplateRow | undefined): TemplateRecord | undefined {
  if (row === undefined) return undefined;
  const { name, version, created_at_ms: createdAtMs } = row;
  return { name, version, template: JSON.parse(row.template) as Template, createdAtMs };
}
