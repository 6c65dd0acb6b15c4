import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { freePorts, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
afterAll(() => data.remove());

const ROUNDS = 3;

interface Made {
  app_id: string;
  admin_key: string;
}

test('apps that were answered survive kill -9, with their keys, and what was cut off is no app', async () => {
  const made: Made[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const fleetgate = await startFleetgate(['issuer', ...freePorts(data.path)]);
    const admin = fleetgate.ready['admin'] as string;
    const headers = {
      'api-key': readFileSync(join(data.path, 'admin.key'), 'utf8').trim(),
      'content-type': 'application/json',
    };
    const listed = (await (await fetch(`${admin}/v1/apps`, { headers })).json()) as { apps: Made[] };
    const ids = listed.apps.map(({ app_id }) => app_id);
    // One more may be there: made, and killed before it was answered.
    expect(made.filter(({ app_id }) => !ids.includes(app_id))).toEqual([]);
    for (const { app_id, admin_key } of made) {
      const answer = await fetch(`${admin}/appid-${app_id}/v1/clients`, {
        headers: { 'api-key': admin_key },
      });
      expect(answer.status, app_id).toBe(200);
    }

    const killed = sleep(100 + Math.random() * 400).then(() => fleetgate.stop('SIGKILL'));
    for (let i = 0; ; i += 1) {
      const body = JSON.stringify({ app_id: `r${round}-${i}` });
      const answer = await fetch(`${admin}/v1/apps`, { method: 'POST', headers, body }).catch(
        () => undefined,
      );
      const app = await answer?.json().catch(() => undefined);
      if (app === undefined) break;
      made.push(app as Made);
    }
    await killed;
  }
  expect(made.length).toBeGreaterThan(0);
});
