import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import type { Command } from 'commander';
import { readConfig } from '../config/read.ts';
import { refuseSecondProcess } from '../data-directory.ts';
import { type Format, formatJson, formatRecord } from '../output.ts';
import type { ConnectionOptions } from './connection.ts';
import { databaseFileOf } from './database.ts';
import { formatOption } from './format-option.ts';

interface Flags extends Pick<ConnectionOptions, 'config' | 'data' | 'app'> {
  format: Format;
}

const withData = (command: Command) =>
  command
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)')
    .option('--app <id>', 'an app of the issuer (default: the one without a prefix)')
    .addOption(formatOption());

/** `fleetgate backup` and `fleetgate restore`. */
export function addBackupCommands(program: Command): void {
  withData(program.command('backup <file>'))
    .summary('copy the database while the issuer runs')
    .description(
      'Copy the database of a data directory to one file (0600), checked, while an issuer runs on it.',
    )
    .addHelpText(
      'after',
      `
A file of that name is replaced once the copy is whole. The key encryption key is not in it, and without that the
signing keys in it are of no use: keep a copy of it apart from the backups.

Example:
  fleetgate backup --data ./fleet fleet-monday.db`,
    )
    .action(async (target: string, flags: Flags) => {
      const { file, directory } = existing(flags);
      const { backupDatabase } = await import('@fleetgate/issuer');
      const { bytes, clients, checkpoint } = await backupDatabase(
        file,
        resolve(target),
        progressOnTerminal(),
      );
      const report = {
        file: resolve(target),
        bytes,
        clients,
        ...(checkpoint === undefined ? {} : { checkpoint: `${checkpoint.sequence}:${checkpoint.hash}` }),
      };
      process.stdout.write(flags.format === 'json' ? formatJson(report) : formatRecord(report));
      note('the key encryption key is not in it; keep a copy of that in another place');
      const apps = flags.app === undefined ? appsIn(directory.appsDirectory) : [];
      if (apps.length > 0) note(`apps are not in it (${apps.join(', ')}): back up each with --app`);
    });

  withData(program.command('restore <file>'))
    .summary('put a backup in the place of the database')
    .description('Put a backup in the place of the database of a data directory on which nothing runs.')
    .addHelpText(
      'after',
      `
No revoked token comes alive: revocations made since the backup are taken from the database that is replaced. Where it
cannot tell them all, every token issued so far is revoked. What else comes back with the backup is listed. The
replaced database stays beside the new one, as *.before-restore-TIME.

Example:
  fleetgate restore --data ./fleet fleet-monday.db`,
    )
    .action(async (backup: string, flags: Flags) => {
      const { file, directory } = databaseFileOf(flags);
      await refuseSecondProcess(directory);
      const { restoreDatabase } = await import('@fleetgate/issuer');
      const { restoreNotes, restoreView } = await import('./restore-report.ts');
      if (!existsSync(directory.path)) {
        throw new FleetgateError(
          'backup_failed',
          `there is no data directory ${directory.path}; make it first`,
        );
      }
      const report = await restoreDatabase(resolve(backup), file, Date.now());
      const view = restoreView(file, report);
      process.stdout.write(flags.format === 'json' ? formatJson(view) : formatRecord(flat(view)));
      for (const line of restoreNotes(report)) note(line);
      const { keyEncryptionKey } = await import('../key-encryption-key.ts');
      const key = keyEncryptionKey(readConfig(flags).config, directory);
      if ('keyEncryptionKeyFile' in key && !existsSync(key.keyEncryptionKeyFile)) {
        note(`${key.keyEncryptionKeyFile} is missing: put the copy that belongs to the backup there`);
      }
    });
}

function existing(flags: Flags) {
  const found = databaseFileOf(flags);
  if (existsSync(found.file)) return found;
  throw new FleetgateError(
    'registry_unavailable',
    `there is no database ${found.file}; name the data directory with --data`,
  );
}

function appsIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^[a-z0-9-]{1,64}$/.test(entry.name))
    .map(({ name }) => name)
    .sort();
}

function progressOnTerminal() {
  if (process.stderr.isTTY !== true) return undefined;
  return ({ totalPages, remainingPages }: { totalPages: number; remainingPages: number }) => {
    const percent = totalPages === 0 ? 100 : Math.floor(((totalPages - remainingPages) / totalPages) * 100);
    process.stderr.write(`\r${percent} %${remainingPages === 0 ? '\n' : ''}`);
  };
}

function flat(view: object): Record<string, string | number> {
  return Object.fromEntries(Object.entries(view).filter(([, value]) => !Array.isArray(value)));
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
