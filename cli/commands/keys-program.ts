import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readConfig } from '../config/read.ts';
import { dataDirectory } from '../data-directory.ts';
import { UsageError } from '../exit.ts';
import type { Format } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { formatOption } from './format-option.ts';
import { describeRetirement, describeRotation, formatKeys } from './keys.ts';

interface KeysFlags extends ConnectionOptions {
  format: Format;
}

interface ReencryptFlags {
  newKeyFile?: string;
  config?: string;
  data?: string;
}

/** `fleetgate keys list|rotate|retire|reencrypt`. */
export function addKeysCommands(program: Command): void {
  const keys = program
    .command('keys')
    .summary('list signing keys, rotate and retire them')
    .description('List the keys that tokens are signed with, rotate and retire them.')
    .addHelpText(
      'after',
      `
Keys rotate by themselves, every issuer.key_rotation_days. What to use when that does not do:
  sign with another key            fleetgate keys rotate
  a key was seen by others         fleetgate keys retire KID --compromised
  the key encryption key was seen  fleetgate keys reencrypt --new-key-file FILE

Examples:
  fleetgate keys list
  fleetgate keys rotate`,
    );

  withConnection(keys.command('list'))
    .summary('list the published keys')
    .description(
      'List the published keys: the one that signs, the next one, and those whose tokens may be alive.',
    )
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate keys list\n  fleetgate keys list --format json | jq -r .[0].kid',
    )
    .action(async (flags: KeysFlags) => {
      process.stdout.write(formatKeys(await (await connect(flags)).admin.listKeys(), flags.format));
    });

  withConnection(keys.command('rotate'))
    .summary('sign with the next key')
    .description('Sign with the next key, at once if verifiers have it, else as soon as they have.')
    .option('--now', 'do not wait for verifiers; some may refuse new tokens until they read the keys again')
    .addOption(formatOption())
    .addHelpText('after', '\nExamples:\n  fleetgate keys rotate\n  fleetgate keys rotate --now')
    .action(async (flags: KeysFlags & { now?: boolean }) => {
      const { keys: after, isDone } = await (await connect(flags)).admin.rotateKeys(flags.now === true);
      process.stderr.write(`${describeRotation(after, isDone)}\n`);
      process.stdout.write(formatKeys(after, flags.format));
    });

  withConnection(keys.command('retire <kid>'))
    .summary('let a key sign no more')
    .description('Let a key sign no more. What it has signed stays good, unless it is compromised.')
    .option('--compromised', 'somebody else has it: remove it at once, and revoke all it has signed')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
With --compromised a new key signs at once if it was the one that signs, and the next key is replaced as well.

Examples:
  fleetgate keys retire "$(fleetgate keys list --format json | jq -r .[0].kid)"
  fleetgate keys retire 2q7Vd9rXbB1oLxkTtqk0yqHq3o8gk0m3kq1bQvS9a4E --compromised`,
    )
    .action(async (kid: string, flags: KeysFlags & { compromised?: boolean }) => {
      const { admin } = await connect(flags);
      const { keys: after, isRepeated } = await admin.retireKey(kid, flags.compromised === true);
      process.stderr.write(`${describeRetirement(kid, after, { isRepeated, ...flags })}\n`);
      process.stdout.write(formatKeys(after, flags.format));
    });

  keys
    .command('reencrypt')
    .summary('encrypt the private keys under another key')
    .description('Encrypt the private signing keys in the database under another key encryption key.')
    .option('--new-key-file <file>', 'file of the new key, mode 0600; made if it is missing')
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)')
    .addHelpText(
      'after',
      `
Stop every issuer on the database first. The key in use is the one the issuer would take: of
FLEETGATE_KEY_ENCRYPTION_KEY, issuer.key_encryption_key_file or the data directory. If it is broken off, run it again. Backups from before still need
the old key.

Example:
  fleetgate keys reencrypt --data ./fleet --new-key-file fleet/new.key &&
      mv fleet/key-encryption.key fleet/old.key && mv fleet/new.key fleet/key-encryption.key`,
    )
    .action(async (flags: ReencryptFlags) => {
      if (flags.newKeyFile === undefined)
        throw new UsageError('name the file of the new key with --new-key-file');
      const { config, dataPath } = readConfig(flags);
      const { reencrypt } = await import('../reencrypt.ts');
      const count = await reencrypt(config, dataDirectory(dataPath), resolve(flags.newKeyFile));
      process.stderr.write(
        count === 0
          ? 'nothing to do: there are no signing keys, or all are encrypted under that key already\n'
          : `${count} keys encrypted under ${flags.newKeyFile}; give the issuer that one from now on\n`,
      );
    });
}
