import { goals, type MeasureName, units } from './goals.ts';
import type { SubjectName } from './subjects.ts';

/** Figures of each subject and measure, a row for each round. */
export type Figures = Map<SubjectName, Map<MeasureName, number[]>>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export type Ratios = Record<string, number>;

/** `fleetgate/bare` and so on, by measure: of medians within one run. */
export function ratiosOf(figures: Figures): Ratios {
  const ratios: Ratios = {};
  for (const [subject, measures] of figures) {
    if (subject === 'bare') continue;
    for (const [measure, values] of measures) {
      const base = figures.get('bare')?.get(measure);
      if (base !== undefined) ratios[`${measure}.${subject}/bare`] = round(median(values) / median(base));
    }
  }
  const ours = figures.get('fleetgate')?.get('connect_first');
  const rabbit = figures.get('rabbitmq')?.get('connect_first');
  if (ours !== undefined && rabbit !== undefined) {
    ratios['connect_first.fleetgate/rabbitmq'] = round(median(ours) / median(rabbit));
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
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function formatGoals(ratios: Ratios): string {
  return goals
    .map(({ measure, against, atLeast, atMost }) => {
      const ratio = ratios[`${measure}.fleetgate/${against}`];
      const wanted = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
      const isMet = ratio !== undefined && ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Infinity);
      const verdict =
        ratio === undefined ? 'not measured' : `${ratio.toFixed(2)} ${isMet ? 'met' : 'MISSED'}`;
      return `goal ${measure} fleetgate/${against} ${wanted}: ${verdict}`;
    })
    .join('\n');
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
