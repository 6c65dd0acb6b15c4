import type { Template } from '../../fleet/template.ts';
import type { FleetRegistry, TemplateRecord } from '../fleet-registry.ts';
import type { Acts } from './acts.ts';
import type { Database } from './database.ts';

interface TemplateRow {
  name: string;
  version: number;
  template: string;
  created_at_ms: number;
}

/** Versions of a template that are kept: what was made by an older one keeps what it was made with. */
const MAX_VERSIONS = 100;

/** The acts on templates. */
export function templateActs(
  database: Database,
  { read, write, record }: Acts,
): Pick<FleetRegistry, 'putTemplate' | 'findTemplate' | 'listTemplates' | 'deleteTemplate'> {
  const newest = database.prepare<[string], TemplateRow>(
    'SELECT * FROM templates WHERE name = ? ORDER BY version DESC LIMIT 1',
  );
  const exact = database.prepare<[string, number], TemplateRow>(
    'SELECT * FROM templates WHERE name = ? AND version = ?',
  );
  const list = database.prepare<[], TemplateRow>(`
    SELECT * FROM templates AS one
    WHERE version = (SELECT max(version) FROM templates WHERE name = one.name) ORDER BY name`);
  const count = database.prepare<[], number>('SELECT count(DISTINCT name) FROM templates').pluck();
  const insert = database.prepare<unknown[]>(
    'INSERT INTO templates (name, version, template, created_at_ms) VALUES (?, ?, ?, ?)',
  );
  const removeOld = database.prepare<[string, number]>(
    'DELETE FROM templates WHERE name = ? AND version <= ?',
  );
  const remove = database.prepare<[string]>('DELETE FROM templates WHERE name = ?');

  return {
    putTemplate: ({ name, template, createdAtMs }, maxTemplates, event) =>
      write(() => {
        const before = newest.get(name);
        const text = JSON.stringify(template);
        if (before?.template === text) return { outcome: 'unchanged', version: before.version } as const;
        if (before === undefined && (count.get() ?? 0) >= maxTemplates) return { outcome: 'full' } as const;
        const version = (before?.version ?? 0) + 1;
        insert.run(name, version, text, createdAtMs);
        removeOld.run(name, version - MAX_VERSIONS);
        record(event);
        return { outcome: 'created', version } as const;
      }),
    findTemplate: (name, version) =>
      read(() => toTemplate(version === undefined ? newest.get(name) : exact.get(name, version))),
    listTemplates: () => read(() => list.all().map((row) => toTemplate(row) as TemplateRecord)),
    deleteTemplate: (name, event) =>
      write(() => {
        if (remove.run(name).changes === 0) return false;
        record(event);
        return true;
      }),
  };
}

function toTemplate(row: TemplateRow | undefined): TemplateRecord | undefined {
  if (row === undefined) return undefined;
  const { name, version, created_at_ms: createdAtMs } = row;
  return { name, version, template: JSON.parse(row.template) as Template, createdAtMs };
}
