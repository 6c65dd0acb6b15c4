import { type Command, Option } from 'commander';
import { parseDuration } from '../duration.ts';
import type { RowFormat } from '../output.ts';
import { createApiKey, formatApiKey, formatApiKeys, rotateApiKey } from './api-key.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

interface KeyFlags extends ConnectionOptions {
  format: RowFormat;
}

interface MakeFlags extends KeyFlags {
  expiresIn?: string;
  out?: string;
}

/** `fleetgate api-key create|list|rotate|delete`. */
export function addApiKeyCommands(program: Command): void {
  const apiKey = program
    .command('api-key')
    .summary('give others a part of the admin API')
    .description('Make, list, rotate and delete keys to the admin API, each with a name and a role.')
    .addHelpText(
      'after',
      `
Roles:
  admin        all
  provisioner  machines: register, change, delete, quarantine, their secrets and tokens
  auditor      reads all, changes nothing

The audit trail names the key that acted. The key in admin.key of the data directory is of role admin and named
default; it is none of these, and is changed on the disk of the issuer.

Examples:
  fleetgate api-key create ci --role provisioner --expires-in 90d --out ci.key
  fleetgate client list --admin-key-file ci.key
  fleetgate api-key rotate ci --overlap 1d --out ci.key`,
    );

  withConnection(apiKey.command('create <name>'))
    .summary('make an API key')
    .description('Make an API key and print it, or write it to a file.')
    .addOption(
      new Option('--role <role>', 'what it may do')
        .choices(['admin', 'provisioner', 'auditor'])
        .makeOptionMandatory(),
    )
    .option('--expires-in <duration>', 'such as 12h or 90d (default: it does not expire)')
    .option('--out <file>', 'write the key to a new file (0600) instead of printing it')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
The key is shown this once: keep what is printed, or use --out.

Examples:
  fleetgate api-key create ci --role provisioner --expires-in 90d --out ci.key
  fleetgate api-key create siem --role auditor --out siem.key`,
    )
    .action(async (name: string, flags: MakeFlags & { role: string }) => {
      const { role, out } = flags;
      const key = { name, role, ...expiry(flags) };
      process.stdout.write(
        formatApiKey(await createApiKey((await connect(flags)).admin, key, out), flags.format),
      );
      if (out !== undefined) process.stderr.write(`key written to ${out}\n`);
    });

  withConnection(apiKey.command('list'))
    .summary('list the API keys')
    .description(
      'List the API keys, ordered by name, with when each was used last; never the keys themselves.',
    )
    .option('-q, --quiet', 'print names only')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate api-key list\n  fleetgate api-key list --format json | jq -r ".[] | select(.last_used_at == null).name"',
    )
    .action(async (flags: KeyFlags & { quiet?: boolean }) => {
      const keys = await (await connect(flags)).admin.listApiKeys();
      process.stdout.write(
        flags.quiet ? keys.map(({ name }) => `${name}\n`).join('') : formatApiKeys(keys, flags.format),
      );
    });

  withConnection(apiKey.command('rotate <name>'))
    .summary('replace an API key')
    .description(
      'Replace an API key by a new one of the same name and role. It lasts as long as the old one did.',
    )
    .option('--overlap <duration>', 'how long the old key is still taken, up to 7d (default: not at all)')
    .option('--expires-in <duration>', 'another lifetime, such as 90d')
    .option(
      '--out <file>',
      'write the key to a file (0600), in place of what it holds, instead of printing it',
    )
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate api-key rotate ci --out ci.key
  fleetgate api-key rotate ci --overlap 1d --out ci-next.key`,
    )
    .action(async (name: string, flags: MakeFlags & { overlap?: string }) => {
      const { out, overlap } = flags;
      const rotation = {
        ...expiry(flags),
        ...(overlap === undefined ? {} : { overlap_seconds: parseDuration('--overlap', overlap) }),
      };
      const rotated = await rotateApiKey((await connect(flags)).admin, name, rotation, out);
      process.stdout.write(formatApiKey(rotated, flags.format));
      if (out !== undefined) process.stderr.write(`key written to ${out}\n`);
      if (rotated.previous_until !== undefined) {
        process.stderr.write(`the old key is taken until ${rotated.previous_until}\n`);
      }
    });

  withConnection(apiKey.command('delete <name...>'))
    .summary('delete API keys')
    .description('Delete API keys, which are refused at once.')
    .addHelpText('after', '\nExample:\n  fleetgate api-key delete ci')
    .action(async (names: string[], flags: ConnectionOptions) => {
      const { admin } = await connect(flags);
      for (const name of names) {
        if (await admin.deleteApiKey(name)) process.stdout.write(`${name}\n`);
        else process.stderr.write(`there is no API key '${name}'; nothing to delete\n`);
      }
    });
}

function expiry({ expiresIn }: MakeFlags): { expires_at?: number } {
  if (expiresIn === undefined) return {};
  return { expires_at: Math.floor(Date.now() / 1000) + parseDuration('--expires-in', expiresIn) };
}
