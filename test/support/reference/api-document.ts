import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';
import { fastify } from 'fastify';

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
  readonly description?: string;
}

interface Body {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

export interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema: Schema;
    readonly description?: string;
  }[];
  readonly requestBody?: Body & { readonly required?: boolean };
  readonly responses: Readonly<
    Record<
      string,
      Body & {
        readonly description: string;
        readonly headers?: Readonly<Record<string, { description?: string; schema: Schema }>>;
      }
    >
  >;
}

/** What we read of an OpenAPI 3.1 document. */
export interface ApiDocument {
  readonly openapi: string;
  readonly info: { readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}
export type ApiSchema = Schema;

/** The document as an issuer serves it. */
export async function apiDocument(): Promise<ApiDocument> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-api-'));
  const issuer = await startIssuer({
    http: { host: '127.0.0.1', port: 0 },
    database: join(directory, 'fleetgate.db'),
    keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
    appsDirectory: join(directory, 'apps'),
  });
  const app = fastify();
  try {
    await app.register(issuer.adminRoutes({ adminKey: 'x'.repeat(43) }));
    return (await app.inject('/openapi.json')).json<ApiDocument>();
  } finally {
    await app.close();
    await issuer.close();
    rmSync(directory, { recursive: true });
  }
}
