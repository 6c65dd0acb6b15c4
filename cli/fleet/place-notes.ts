import { nearest } from '@fleetgate/shared';
import { type LinedRow, standingColumns } from './device-rows.ts';

/**
 * What of the names that devices are bound to fills no place of their template, a line each. It may be for the hook of
 * enrollments alone, and is more often a slip.
 */
export function placeNotes(template: Record<string, unknown>, names: Iterable<string>): string[] {
  const places = new Set(placesOf(template));
  return Array.from(new Set(names))
    .filter((name) => !places.has(name) && !standingColumns.test(name))
    .map((name) => {
      const near = nearest(name, places);
      return `no place of the template is called {${name}}${near === undefined ? '' : `; did you mean ${near}?`}`;
    });
}

/** The names in the first row of some; all of a file have the same in CSV. */
export async function firstNames(rows: AsyncIterable<LinedRow>): Promise<string[]> {
  for await (const { row } of rows) return Object.keys(row);
  return [];
}

function placesOf(value: unknown): string[] {
  if (typeof value === 'string')
    return Array.from(value.matchAll(/\{([^{}:]+)/g), ([, name]) => name as string);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(placesOf) : [];
}
