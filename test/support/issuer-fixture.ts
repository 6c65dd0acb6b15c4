import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { IssuerOptions } from '@fleetgate/issuer';
import { type RunningIssuer, startIssuer } from '@fleetgate/issuer';
import { type FastifyBaseLogger, fastify, LogController, type RouteOptions } from 'fastify';
import { inject, onTestFinished } from 'vitest';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { scratchDirectory } from './scratch.ts';

/** An admin key as the issuer would make one. */
export const adminKey = 'test-admin-key-0123456789-0123456789-0123456';

export interface IssuerFixture {
  readonly issuer: RunningIssuer;
  readonly admin: string;
  /** Every route of the admin listener, as it was added. */
  readonly adminRoutes: readonly RouteOptions[];
  readonly directory: string;
  readonly database: string;
  readonly keyFile: string;
  /** An answer of the admin listener, with the admin key unless other headers are given. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Registers a client and answers it with its secret. */
  register(client: Record<string, unknown>): Promise<RegisteredClient>;
  /** A token request; a record is sent as a form. */
  requestToken(body: Record<string, string> | string, headers?: Record<string, string>): Promise<Response>;
  /** The grant with `client_secret_post`. */
  tokenFor(client: RegisteredClient, more?: Record<string, string>): Promise<Response>;
}

export interface RegisteredClient {
  client_id: string;
  client_secret: string;
  [field: string]: unknown;
}

/** A directory that is removed when the test ends. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetgate-issuer-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Whether each registry is a file, and not a schema as in the project `postgres`. */
export const isInFile = inject('postgres') === undefined;

/** Apps are kept in SQLite alone: their tests run in the project `unit`. */
export const hasApps = isInFile;

/** The registry of a directory: a file in it or, in the project `postgres`, a schema of its name. */
export function databaseIn(directory: string): string {
  const postgres = inject('postgres');
  if (postgres === undefined) return join(directory, 'fleetgate.db');
  return `${postgres}?schema=${basename(directory).toLowerCase().replaceAll('-', '_')}`;
}

/** Options of an issuer whose files are in `directory`. */
export function issuerOptions(
  directory: string,
  options: Partial<IssuerOptions> = {},
): IssuerOptions & { keyEncryptionKeyFile: string } {
  return {
    http: { host: '127.0.0.1', port: 0 },
    database: databaseIn(directory),
    keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
    ...(hasApps ? { appsDirectory: join(directory, 'apps') } : {}),
    ...options,
  };
}

let migrated: Promise<string> | undefined;

/** An empty registry of the newest version: to copy it is faster than to migrate one for each test. */
async function migrateOne(): Promise<string> {
  const file = join(scratchDirectory('issuer'), 'fleetgate.db');
  const registry = await openSqliteRegistry(file);
  await registry.close();
  return file;
}

/** A real issuer and admin listener on free ports, closed when the test ends. */
export async function issuerFixture(options: Partial<IssuerOptions> = {}): Promise<IssuerFixture> {
  const directory = await temporaryDirectory();
  const resolved = issuerOptions(directory, options);
  if (resolved.database === join(directory, 'fleetgate.db')) {
    migrated ??= migrateOne();
    await copyFile(await migrated, resolved.database);
  }
  const issuer = await startIssuer(resolved);
  const app = fastify({
    logController: new LogController({ disableRequestLogging: true }),
    ...(resolved.log === undefined ? {} : { loggerInstance: resolved.log as FastifyBaseLogger }),
  });
  const adminRoutes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    adminRoutes.push(route);
  });
  await app.register(issuer.adminRoutes({ adminKey }));
  const admin = await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    await app.close();
    await issuer.close();
  });

  const call: IssuerFixture['call'] = (method, path, body, headers) =>
    fetch(`${admin}${path}`, {
      method,
      headers: {
        ...(headers ?? { 'api-key': adminKey }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const requestToken: IssuerFixture['requestToken'] = (body, headers = {}) =>
    fetch(`${issuer.url}/oauth/token`, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : new URLSearchParams(body),
    });

  return {
    issuer,
    admin,
    adminRoutes,
    directory,
    database: resolved.database,
    keyFile: resolved.keyEncryptionKeyFile,
    call,
    async register(client) {
      const answer = await call('POST', '/v1/clients', client);
      if (answer.status !== 201) throw new Error(`client not created: ${await answer.text()}`);
      return (await answer.json()) as RegisteredClient;
    },
    requestToken,
    tokenFor: ({ client_id, client_secret }, more = {}) =>
      requestToken({ grant_type: 'client_credentials', client_id, client_secret, ...more }),
  };
}

export const json = { 'content-type': 'application/json' } as const;
export const form = { 'content-type': 'application/x-www-form-urlencoded' } as const;

/** An `Authorization: Basic` header as RFC 6749 §2.3.1 asks for it. */
export function basic(clientId: string, secret: string): { authorization: string } {
  const encode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);
  return { authorization: `Basic ${btoa(`${encode(clientId)}:${encode(secret)}`)}` };
}
