// Registers the devices of a JSONL file over the admin API, a line of credentials for each on stdout.
//
//   ADMIN_URL=http://127.0.0.1:8081 API_KEY_FILE=provisioner.key node provision.ts sensor devices.jsonl > credentials.jsonl
//
// It keeps nothing: to go on after a crash, keep job_id, job_key and the last row that is on the disk.
import { readFileSync } from 'node:fs';

const [template = '', file = ''] = process.argv.slice(2);
const admin = process.env['ADMIN_URL'] ?? 'http://127.0.0.1:8081';
const apiKey = readFileSync(process.env['API_KEY_FILE'] ?? 'admin.key', 'utf8').trim();
const BATCH_ROWS = 500;

interface Job {
  job_id: string;
  job_key: string;
}

interface Result {
  row: number;
  outcome: 'created' | 'repeated' | 'failed';
  client_id?: string;
  client_secret?: string;
  audience?: string[];
  error_description?: string;
}

async function api<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(`${admin}${path}`, {
    method,
    headers: { 'api-key': apiKey, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Answer;
}

const rows = readFileSync(file, 'utf8')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => JSON.parse(line) as Record<string, unknown>);
const { issuer } = await api<{ issuer: string }>('GET', '/v1/issuer');
const { job_id, job_key } = await api<Job>('POST', '/v1/provisioning-jobs', { template, total: rows.length });

for (let done = 0; done < rows.length; done += BATCH_ROWS) {
  // Sent again with the same job_key, a batch is answered with the same secrets.
  const batch = { job_key, first_row: done + 1, rows: rows.slice(done, done + BATCH_ROWS) };
  const { results } = await api<{ results: Result[] }>('POST', `/v1/provisioning-jobs/${job_id}/rows`, batch);
  for (const { row, client_id, client_secret, audience, error_description } of results) {
    if (client_secret === undefined) {
      process.stderr.write(`row ${row}: ${error_description}\n`);
      process.exitCode = 3;
      continue;
    }
    const auth = { method: 'client_secret_basic', client_secret };
    const credentials = { version: 1, client_id, issuer, audience: audience?.[0], auth };
    process.stdout.write(`${JSON.stringify(credentials)}\n`);
  }
}
