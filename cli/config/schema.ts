import Type, { type Static } from 'typebox';
import { DEFAULT_ADMIN } from './default-admin.ts';
import { broker } from './schema-broker.ts';
import { webConsole } from './schema-console.ts';
import { issuer } from './schema-issuer.ts';
import { closed, host, port } from './schema-parts.ts';

/**
 * The configuration file, `fleetgate.yaml`: every key is optional and has its default here. Keys are snake_case
 * with the unit last. The table of docs/configuration.md is made from it by
 * `npm run docs:reference`: descriptions are Markdown.
 */

export const configSchema = Type.Object(
  {
    issuer,
    admin: Type.Object(
      { host: host(DEFAULT_ADMIN.host), port: port(DEFAULT_ADMIN.port) },
      { ...closed, default: {} },
    ),
    console: webConsole,
    broker,
    log: Type.Object(
      {
        level: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
          default: 'info',
          description: 'least severe level that is logged',
        }),
        format: Type.Enum(['json', 'pretty'], { default: 'json', description: 'json or pretty' }),
      },
      { ...closed, default: {} },
    ),
  },
  closed,
);

/** The configuration with every default filled in. */
export type Config = Static<typeof configSchema>;
