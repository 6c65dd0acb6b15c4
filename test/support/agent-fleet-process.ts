/**
 * Agents in one process, one for each credentials file in the directory of the first argument. Each takes its commands
 * and reports now and then. One in fifty is no agent, and reports in the name of its neighbour: it is refused, and
 * comes again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Credentials, parseCredentials } from '@fleetgate/shared';
import mqtt from 'mqtt';
import { createAgent, createTokenSource } from '../../agent/index.ts';

const REPORT_INTERVAL_MS = 2_000;
const TRESPASS_INTERVAL_MS = 5_000;

const load = () => (20 + 5 * Math.random()).toFixed(1);

async function runAgent(credentials: Credentials): Promise<void> {
  const { client_id: clientId } = credentials;
  const agent = createAgent(credentials);
  await agent.subscribe(`devices/${clientId}/commands/#`, { qos: 1 }, () => undefined);
  const report = () => void agent.publish(`devices/${clientId}/telemetry/load`, load(), { qos: 1 });
  setTimeout(() => setInterval(report, REPORT_INTERVAL_MS), Math.random() * REPORT_INTERVAL_MS);
}

async function trespass(credentials: Credentials, neighbour: string): Promise<void> {
  const { client_id: clientId, broker } = credentials;
  const token = await createTokenSource(credentials).get();
  const client = await mqtt.connectAsync(broker?.url as string, {
    clientId,
    username: clientId,
    password: token.value,
    reconnectPeriod: 1_000,
  });
  client.on('error', () => undefined);
  setInterval(() => {
    client.publish(`devices/${neighbour}/telemetry/load`, load());
  }, TRESPASS_INTERVAL_MS);
}

const directory = process.argv[2] as string;
const all = readdirSync(directory)
  .sort()
  .map((name) => parseCredentials(readFileSync(join(directory, name), 'utf8')));
await Promise.all(
  all.map((credentials, n) => {
    const neighbour = all[n + 1]?.client_id;
    return n % 50 === 10 && neighbour !== undefined
      ? trespass(credentials, neighbour)
      : runAgent(credentials);
  }),
);
process.stdout.write('all are up\n');
