import { alignColumns, formatGoal, median, type Ratios, ratioOf, whole } from '../report.ts';
import { type FigureName, figureNames, goals, type SubjectName } from './goals.ts';

/** Figures of each measure and subject, a row for each round. */
export type Figures = Map<string, Map<SubjectName, Map<FigureName, number[]>>>;

/** Of medians within one run: Fleetgate to oidc-provider in each measure, and of many clients to one. */
export function ratiosOf(figures: Figures): Ratios {
  const ratios: Ratios = {};
  const of = (measure: string, subject: SubjectName, figure: FigureName) => {
    const values = figures.get(measure)?.get(subject)?.get(figure);
    return values === undefined ? undefined : median(values);
  };
  const add = (name: string, ours: number | undefined, base: number | undefined) => {
    if (ours !== undefined && base !== undefined) ratios[name] = ratioOf(ours, base);
  };
  for (const figure of figureNames) {
    for (const measure of figures.keys()) {
      add(
        `${figure}.${measure}.fleetgate/oidc-provider`,
        of(measure, 'fleetgate', figure),
        of(measure, 'oidc-provider', figure),
      );
    }
    add(
      `${figure}.fleetgate.basic_es256_many/basic_es256`,
      of('basic_es256_many', 'fleetgate', figure),
      of('basic_es256', 'fleetgate', figure),
    );
  }
  return ratios;
}

export function formatTable(figures: Figures): string {
  const rows = [['measure', 'subject', 'tokens/s', 'min', 'max', 'p99 ms', 'cpu us', 'resident MiB']];
  for (const [measure, subjects] of figures) {
    for (const [subject, of] of subjects) {
      const perSecond = of.get('per_second') ?? [];
      rows.push([
        measure,
        subject,
        whole(median(perSecond)),
        whole(Math.min(...perSecond)),
        whole(Math.max(...perSecond)),
        median(of.get('p99_ms') ?? []).toFixed(1),
        whole(median(of.get('cpu_us') ?? [])),
        (median(of.get('resident_bytes') ?? []) / 1024 / 1024).toFixed(0),
      ]);
    }
  }
  return alignColumns(rows);
}

export function formatGoals(ratios: Ratios): string {
  return goals.map((goal) => formatGoal(goal.ratio, goal, ratios[goal.ratio])).join('\n');
}
