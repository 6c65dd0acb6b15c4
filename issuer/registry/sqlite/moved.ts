import { FleetgateError } from '@fleetgate/shared';
import type { Database } from './database.ts';

/** Where a registry went, and when. The table is there in files of such alone. */
interface Moved {
  readonly place: string;
  readonly at_ms: number;
}

/** Notes in the file that its registry goes on elsewhere. A second note replaces the first. */
export function noteMoved(database: Database, place: string, atMs: number): void {
  forgetMoved(database);
  database.exec('CREATE TABLE moved (place TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT');
  database.prepare('INSERT INTO moved (place, at_ms) VALUES (?, ?)').run(place, atMs);
}

/** For a file that is to serve again. */
export function forgetMoved(database: Database): void {
  database.exec('DROP TABLE IF EXISTS moved');
}

/** Where the registry of the file went, for people; unset while it is here. */
export function movedTo(database: Database): string | undefined {
  const table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'moved'";
  if (database.prepare(table).get() === undefined) return undefined;
  return database.prepare<[], Moved>('SELECT * FROM moved').get()?.place;
}

/** @throws FleetgateError `registry_moved`: two registries would go on from the one */
export function refuseMoved(database: Database, file: string): void {
  const place = movedTo(database);
  if (place === undefined) return;
  throw new FleetgateError(
    'registry_moved',
    `the registry of ${file} was carried to ${place}; set issuer.database to it, and finish 'fleetgate migrate' where ` +
      'it was broken off. To go back instead restore a backup of the file',
  );
}
