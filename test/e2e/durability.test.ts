import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { freePorts, requestToken, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
afterAll(() => data.remove());

test('every client whose creation was answered survives kill -9 and gets a token; none is half there', async () => {
  const first = await startFleetgate(['up', ...freePorts(data.path)]);
  const apiKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  const answered = new Map<string, string>();
  const creations = Array.from({ length: 200 }, async (_, i) => {
    const response = await fetch(`${first.ready['admin']}/v1/clients`, {
      method: 'POST',
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ client_id: `device-${i}`, scope: 'telemetry.write' }),
    });
    const client = (await response.json()) as { client_id: string; client_secret: string };
    answered.set(client.client_id, client.client_secret);
    if (answered.size === 60) first.process.kill('SIGKILL');
  });
  await Promise.allSettled(creations);
  await first.stop('SIGKILL');
  expect(answered.size).toBeGreaterThanOrEqual(60);

  const second = await startFleetgate(['up', ...freePorts(data.path)]);
  try {
    for (const [clientId, secret] of answered) {
      const response = await requestToken(second.ready['issuer'] as string, clientId, secret);
      expect(response.status, clientId).toBe(200);
    }
    // One that was not answered is there whole, with its row in the audit, or not at all: it can be made again.
    const page = await fetch(`${second.ready['admin']}/v1/clients?limit=500`, {
      headers: { 'api-key': apiKey },
    });
    const { clients } = (await page.json()) as { clients: { client_id: string; scope: string }[] };
    for (const client of clients) expect(client.scope).toBe('telemetry.write');
    const present = new Set(clients.map(({ client_id }) => client_id));
    for (let i = 0; i < 200; i += 1) {
      const response = await fetch(`${second.ready['admin']}/v1/clients`, {
        method: 'POST',
        headers: { 'api-key': apiKey, 'content-type': 'application/json' },
        body: JSON.stringify({ client_id: `device-${i}`, scope: 'telemetry.write' }),
      });
      expect(response.status).toBe(present.has(`device-${i}`) ? 409 : 201);
    }
  } finally {
    expect(await second.stop()).toBe(0);
  }
});
