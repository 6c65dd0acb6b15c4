import { type Credentials, type CredentialsAuth, formatCredentials } from '@fleetgate/shared';
import type { AdminClient, ClientFilter, ClientView, NewClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { intoNewFile } from '../new-file.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type HowToAsk, howToAsk } from './credential.ts';

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

/** Registers a client. Answers it with its secret only where no file holds that. */
export async function createClient(admin: AdminClient, options: CreateOptions): Promise<ClientView> {
  if (options.out === undefined) return admin.createClient(options.client);
  return intoNewFile(options.out, async () => {
    const issuer = await admin.issuerUrl();
    const { client_secret, oscore, ...answer } = await admin.createClient(options.client);
    const how =
      options.auth === undefined
        ? await howToAsk({ ...(client_secret && { client_secret }), ...(oscore && { oscore }) }, admin)
        : { auth: options.auth };
    return { content: formatCredentials(credentialsOf(answer, how, issuer, options.brokerUrl)), answer };
  });
}

/** Every client, page by page. */
export async function* listClients(
  admin: AdminClient,
  filter: ClientFilter = {},
): AsyncGenerator<ClientView> {
  let cursor: string | undefined;
  do {
    const page = await admin.listClients({
      ...filter,
      limit: PAGE_SIZE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield* page.clients;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** The client as `--format` asks. */
export function formatClient(client: ClientView, format: RowFormat): string {
  if (format === 'csv') return formatClients([client], format);
  return format === 'json' ? formatJson(client) : formatRecord(toRow(client));
}

/** The clients as `--format` asks. */
export function formatClients(clients: readonly ClientView[], format: RowFormat): string {
  if (format === 'json') return formatJson(clients);
  const shown = (['client_secret', 'oscore'] as const).filter((field) =>
    clients.some((client) => client[field] !== undefined),
  );
  return formatRows(format, clients.map(toRow), {
    table: ['client_id', 'group', 'state', 'auth_method', 'scope', 'created_at', 'last_seen_on'],
    csv: [...clientFields, ...shown],
  });
}

/** All that is shown of a client. */
export const clientFields: readonly (keyof ClientView)[] = [
  'client_id',
  'name',
  'scope',
  'audience',
  'auth_method',
  'group',
  'labels',
  'metadata',
  'token_lifetime_seconds',
  'state',
  'quarantined_at',
  'quarantine_reason',
  'template',
  'template_version',
  'job',
  'enrollment',
  'created_at',
  'updated_at',
  'last_seen_on',
  'secret_expires_at',
];

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

/** The credentials file of a client. */
export function credentialsOf(
  client: ClientView,
  { auth, token_endpoint }: HowToAsk,
  issuer: string,
  brokerUrl: string | undefined,
): Credentials {
  const audience = client.audience[0];
  return {
    version: 1,
    client_id: client.client_id,
    issuer,
    ...(token_endpoint === undefined ? {} : { token_endpoint }),
    auth,
    // The first registered audience, so that a device with several asks for one token for one broker.
    ...(audience === undefined ? {} : { audience }),
    ...(brokerUrl === undefined ? {} : { broker: { url: brokerUrl } }),
  };
}
