import { alignColumns, formatGoal, median, type Ratios, ratioOf, whole } from '../report.ts';
import { goals, type MeasureName, units } from './goals.ts';
import type { SubjectName } from './subjects.ts';

/** Figures of each subject and measure, a row for each round. */
export type Figures = Map<SubjectName, Map<MeasureName, number[]>>;

/** `fleetgate/bare` and so on, by measure: of medians within one run. */
export function ratiosOf(figures: Figures): Ratios {
  const ratios: Ratios = {};
  for (const [subject, measures] of figures) {
    if (subject === 'bare') continue;
    for (const [measure, values] of measures) {
      const base = figures.get('bare')?.get(measure);
      if (base !== undefined) ratios[`${measure}.${subject}/bare`] = ratioOf(median(values), median(base));
    }
  }
  const ours = figures.get('fleetgate')?.get('connect_first');
  const rabbit = figures.get('rabbitmq')?.get('connect_first');
  if (ours !== undefined && rabbit !== undefined) {
    ratios['connect_first.fleetgate/rabbitmq'] = ratioOf(median(ours), median(rabbit));
  }
  return ratios;
}

export function formatTable(figures: Figures, ratios: Ratios): string {
  const rows = [['measure', 'subject', 'median', 'unit', 'min', 'max', 'to bare']];
  const measures = new Set(Array.from(figures.values()).flatMap((of) => Array.from(of.keys())));
  for (const measure of measures) {
    for (const [subject, of] of figures) {
      const values = of.get(measure);
      if (values === undefined) continue;
      rows.push([
        measure,
        subject,
        whole(median(values)),
        units[measure],
        whole(Math.min(...values)),
        whole(Math.max(...values)),
        ratios[`${measure}.${subject}/bare`]?.toFixed(2) ?? '',
      ]);
    }
  }
  return alignColumns(rows);
}

export function formatGoals(ratios: Ratios): string {
  return goals
    .map((goal) => {
      const { measure, against } = goal;
      return formatGoal(`${measure} fleetgate/${against}`, goal, ratios[`${measure}.fleetgate/${against}`]);
    })
    .join('\n');
}
