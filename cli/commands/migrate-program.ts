import { existsSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import type { Command } from 'commander';
import { refuseSecondProcess } from '../data-directory.ts';
import { UsageError } from '../exit.ts';
import { type Progress, showProgress } from '../fleet/progress.ts';
import { type Format, formatJson, formatRecord } from '../output.ts';
import type { ConnectionOptions } from './connection.ts';
import { databaseFileOf } from './database.ts';
import { formatOption } from './format-option.ts';

interface Flags extends Pick<ConnectionOptions, 'config' | 'data'> {
  from?: string;
  to: string;
  format: Format;
}

/** `fleetgate migrate`. */
export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .summary('carry the registry from SQLite to PostgreSQL')
    .description(
      'Carry the registry of an issuer that is stopped from its file to a schema of PostgreSQL that holds nothing.',
    )
    .option('--from <database>', 'sqlite:FILE (default: the one of the data directory)')
    .requiredOption(
      '--to <database>',
      'postgres://USER@HOST:PORT/DATABASE?schema=NAME; the password is read from PGPASSWORD_FILE, a PGPASSFILE or PGPASSWORD',
    )
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
All is carried: clients with their secrets, keys, revocations, jobs, the audit trail. What was broken off goes on when
the same command is run again; no issuer opens the schema before all is there, and was compared by counts and by the
audit chain. The file stays, marked: no issuer starts on it again, as there would be two registries. To try
it carry a copy of the file. The key encryption key is not in it: each issuer needs a copy of that key's file.

Example:
  PGPASSFILE=~/.pgpass fleetgate migrate --data ./fleet --to postgres://fleetgate@db.example:5432/fleetgate`,
    )
    .action(async (flags: Flags) => {
      refusePassword(flags.to);
      const file = await sourceOf(flags);
      const { transferToPostgres } = await import('@fleetgate/issuer');
      const progress = tableProgress();
      const report = await transferToPostgres(file, flags.to, {
        nowMs: Date.now(),
        onProgress: progress.show,
      }).finally(progress.stop);
      const view = {
        ...report.rows,
        ...(report.checkpoint === undefined
          ? {}
          : { checkpoint: `${report.checkpoint.sequence}:${report.checkpoint.hash}` }),
      };
      process.stdout.write(flags.format === 'json' ? formatJson(view) : formatRecord(view));
      process.stderr.write(
        'all is there and was compared; set issuer.database, and copy key-encryption.key to each issuer; none starts on the file again\n',
      );
    });
}

async function sourceOf({ from, ...flags }: Flags): Promise<string> {
  if (from === undefined) {
    const { file, directory } = databaseFileOf(flags);
    await refuseSecondProcess(directory);
    return existing(file);
  }
  if (!from.startsWith('sqlite:')) {
    throw new UsageError(`--from takes sqlite:FILE, as sqlite:./fleet/fleetgate.db, not '${from}'`);
  }
  const file = from.slice('sqlite:'.length);
  return existing(isAbsolute(file) ? file : resolve(file));
}

function existing(file: string): string {
  if (existsSync(file)) return file;
  throw new FleetgateError('registry_unavailable', `there is no database ${file}; name it with --from`);
}

/** Of all processes, others see the arguments. */
function refusePassword(database: string): void {
  const url = URL.parse(database);
  // The driver takes it from either place.
  if (url !== null && (url.password !== '' || url.searchParams.has('password'))) {
    throw new UsageError(
      'others could read the password from the arguments; put it into a file that PGPASSWORD_FILE names',
    );
  }
}

/** A bar for each table that takes a while. */
function tableProgress() {
  let current: { readonly table: string; readonly bar: Progress } | undefined;
  const stop = () => {
    current?.bar.stop();
    current = undefined;
  };
  return {
    show({ table, done, total }: { table: string; done: number; total: number }): void {
      if (total === 0) return;
      if (current?.table !== table) {
        stop();
        current = { table, bar: showProgress({ what: `rows of ${table}`, total, done }) };
      }
      if (done > 0) current.bar.update(done);
    },
    stop,
  };
}
