/**
 * Copies the clients of a SuperTokens core to Fleetgate, each with the id and the secret it has. What is there already is
 * left as it is, so it may be run again. Prints a line for each client; exit 1 if one was refused.
 *
 *   SUPERTOKENS_URL=http://127.0.0.1:3567 SUPERTOKENS_KEY_FILE=old.key \
 *   FLEETGATE_URL=http://127.0.0.1:8081 FLEETGATE_KEY_FILE=fleetgate-data/admin.key node move-clients.ts
 *
 * Either URL may end in `/appid-<id>`.
 */
import { readFileSync } from 'node:fs';

interface Answer {
  status: string;
  statusCode?: number;
  errorDescription?: string;
  clients?: { clientId: string }[];
  nextPaginationToken?: string;
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    console.error(
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code}); name it by SUPERTOKENS_KEY_FILE or`,
    );
    console.error('FLEETGATE_KEY_FILE: one line, the API key of that core');
    process.exit(2);
  }
}

/** A request to a core, with the API key from a file, and its answer. */
function core(url: string, keyFile: string) {
  const key = readKey(keyFile);
  return async (path: string, query: Record<string, string>, body?: unknown): Promise<Answer> => {
    const response = await fetch(`${url}${path}?${new URLSearchParams(query)}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'api-key': key, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${url}${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  };
}

const env = (name: string, fallback: string) => process.env[name] ?? fallback;
const from = core(env('SUPERTOKENS_URL', 'http://127.0.0.1:3567'), env('SUPERTOKENS_KEY_FILE', 'old.key'));
const to = core(
  env('FLEETGATE_URL', 'http://127.0.0.1:8081'),
  env('FLEETGATE_KEY_FILE', 'fleetgate-data/admin.key'),
);

let pageToken: string | undefined = '';
while (pageToken !== undefined) {
  const page = await from('/recipe/oauth/clients/list', { pageSize: '250', ...(pageToken && { pageToken }) });
  for (const { clientId } of page.clients ?? []) {
    // The list is without secrets.
    const client = await from('/recipe/oauth/clients', { clientId });
    const { status, statusCode, errorDescription } = await to('/recipe/oauth/clients', {}, client);
    const outcome = status === 'OK' ? 'moved' : statusCode === 409 ? 'there already' : errorDescription;
    console.log(`${clientId}: ${outcome}`);
    if (status !== 'OK' && statusCode !== 409) process.exitCode = 1;
  }
  pageToken = page.nextPaginationToken;
}
