import { createHmac } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { groupKeyProblem, isIdentifier, privateFileProblem } from '@fleetgate/shared';
import { type Command, Option } from 'commander';
import { UsageError } from '../exit.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatRows, type RowFormat } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

/** `fleetgate enrollment roll-key` and `derive-key`. */
export function addEnrollmentKeys(enrollment: Command): void {
  withConnection(enrollment.command('roll-key <enrollment-id>'))
    .summary('replace one of the two group keys')
    .description('Replace one of the two keys of a group. Devices with keys from the other one go on.')
    .addOption(
      new Option('--key <which>', 'which is replaced')
        .choices(['primary', 'secondary'])
        .makeOptionMandatory(),
    )
    .option('--out <file>', 'write it to a new file (0600) instead of stdout')
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate enrollment roll-key 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --key secondary --out secondary.key',
    )
    .action(async (id: string, flags: ConnectionOptions & { key: 'primary' | 'secondary'; out?: string }) => {
      const { admin } = await connect(flags);
      const roll = async () => `${(await admin.rollGroupKey(id, flags.key))[`${flags.key}_key`]}\n`;
      if (flags.out === undefined) process.stdout.write(await roll());
      else await intoNewFile(flags.out, async () => ({ content: await roll(), answer: undefined }));
    });

  enrollment
    .command('derive-key <registration-id...>')
    .summary('make keys of devices from that of their group')
    .description(
      'Make the keys of devices from that of their group, offline: base64(HMAC-SHA256(group key, id)).',
    )
    .requiredOption('--group-key-file <file>', 'file of the group key, base64, mode 0600')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate enrollment derive-key A1 A2 --group-key-file primary.key --format csv',
    )
    .action((ids: string[], flags: { groupKeyFile: string; format: RowFormat }) => {
      const text = readSecret(flags.groupKeyFile);
      const problem = groupKeyProblem(text);
      if (problem !== undefined) throw new UsageError(`${flags.groupKeyFile}: ${problem}`);
      const key = Buffer.from(text, 'base64');
      const rows = ids.map((registration_id) => {
        if (!isIdentifier(registration_id as unknown)) {
          throw new UsageError(
            `a registration id matches [A-Za-z0-9._-]{1,64}, and '${registration_id}' does not`,
          );
        }
        return {
          registration_id,
          device_key: createHmac('sha256', key).update(registration_id).digest('base64'),
        };
      });
      const columns = ['registration_id', 'device_key'];
      process.stdout.write(
        flags.format === 'json'
          ? formatJson(rows)
          : formatRows(flags.format, rows, { table: columns, csv: columns }),
      );
    });
}

function readSecret(file: string): string {
  try {
    const problem = privateFileProblem(file, statSync(file));
    if (problem !== undefined) throw new UsageError(problem);
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
}
