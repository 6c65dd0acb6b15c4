import { fleetgate } from '@fleetgate/broker';
import { prometheusObserver } from '@fleetgate/broker/metrics';
import { prometheusObserver as issuerMetrics } from '@fleetgate/issuer/metrics';
import { pino } from 'pino';
import type { Registry } from 'prom-client';
import { startAdmin } from '../../cli/admin-listener.ts';
import { createMetrics } from '../../cli/metrics.ts';
import { testIssuer } from './broker-tokens.ts';

/** What `/metrics` of a process with issuer and broker prints, and the registry that prints it. */
export async function allMetrics(): Promise<{ readonly text: string; readonly register: Registry }> {
  const register = createMetrics(() => 0);
  const issuer = testIssuer();
  issuerMetrics(register).request('issue', 'ok', 0.001);
  const auth = fleetgate({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    observer: prometheusObserver(register),
  });
  const log = pino({ level: 'silent' });
  const admin = await startAdmin({
    host: '127.0.0.1',
    port: 0,
    log,
    problems: async () => [],
    metrics: register,
  });
  try {
    // The first is counted when the second is answered.
    await fetch(`${admin.url}/livez`);
    return { text: await (await fetch(`${admin.url}/metrics`)).text(), register };
  } finally {
    await admin.close();
    auth.close();
  }
}
