import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { type Credentials, type CredentialsAuth, FleetgateError, formatCredentials } from '@fleetgate/shared';
import type { AdminClient, ClientView, NewClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { type Format, formatJson, formatRecord, formatTable, type Row } from '../output.ts';

/** Clients one request for the list may bring; the API's own limit. */
const PAGE_SIZE = 500;

export interface CreateOptions {
  client: NewClient;
  /** How it authenticates. Default: by the secret that the issuer makes. */
  auth?: CredentialsAuth;
  /** Credentials file to write; without it the secret is printed. */
  out?: string;
  brokerUrl?: string;
}

/**
 * Registers a client; the file of its credentials is opened before, so that a secret which cannot be kept is
 * never made. Answers the client, with its secret only where no file holds it.
 */
export async function createClient(admin: AdminClient, options: CreateOptions): Promise<ClientView> {
  if (options.out === undefined) return admin.createClient(options.client);
  const file = openNew(options.out);
  try {
    const issuer = await admin.issuerUrl();
    const { client_secret, ...client } = await admin.createClient(options.client);
    const auth = options.auth ?? secretAuth(client_secret);
    writeSync(file, formatCredentials(credentialsOf(client, auth, issuer, options.brokerUrl)));
    fsyncSync(file);
    return client;
  } catch (error) {
    rmSync(options.out, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Every client, page by page. */
export async function* listClients(admin: AdminClient): AsyncGenerator<ClientView> {
  let cursor: string | undefined;
  do {
    const page = await admin.listClients({ limit: PAGE_SIZE, ...(cursor === undefined ? {} : { cursor }) });
    yield* page.clients;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** The client as `--format` asks. */
export function formatClient(client: ClientView, format: Format): string {
  return format === 'json' ? formatJson(client) : formatRecord(row(client));
}

/** The clients as `--format` asks. */
export function formatClients(clients: readonly ClientView[], format: Format): string {
  if (format === 'json') return formatJson(clients);
  return formatTable(['client_id', 'group', 'auth_method', 'scope', 'created_at'], clients.map(row));
}

/** `NAME=VALUE` options as a record; a UsageError for any that is not. */
export function parseLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const equals = label.indexOf('=');
      if (equals < 1) throw new UsageError(`--label takes NAME=VALUE, not '${label}'`);
      return [label.slice(0, equals), label.slice(equals + 1)];
    }),
  );
}

/** How a client with a secret authenticates. */
export function secretAuth(secret: string | undefined): CredentialsAuth {
  if (secret === undefined)
    throw new FleetgateError('server_error', 'the issuer answered without a client secret');
  return { method: 'client_secret_basic', client_secret: secret };
}

/** The credentials file of a client. */
export function credentialsOf(
  client: ClientView,
  auth: CredentialsAuth,
  issuer: string,
  brokerUrl: string | undefined,
): Credentials {
  const audience = client.audience[0];
  return {
    version: 1,
    client_id: client.client_id,
    issuer,
    auth,
    // The first registered audience, so that a device with several asks for one token for one broker.
    ...(audience === undefined ? {} : { audience }),
    ...(brokerUrl === undefined ? {} : { broker: { url: brokerUrl } }),
  };
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const mend = code === 'EEXIST' ? 'remove it or name another file' : 'name a file that can be written';
    throw new UsageError(`cannot write ${path} (${code}); ${mend} with --out`);
  }
}

function row(client: ClientView): Row {
  return Object.fromEntries(
    Object.entries(client).map(([key, value]) => [
      key,
      Array.isArray(value)
        ? value.join(' ')
        : typeof value === 'object' && value !== null
          ? JSON.stringify(value)
          : value,
    ]),
  );
}
