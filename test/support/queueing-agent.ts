/** Publishes offline, without an end, to a queue in a file: `{ credentials, queueFile }` as JSON in the first argument. */
import { createAgent } from '../../agent/index.ts';

const { credentials, queueFile } = JSON.parse(process.argv[2] ?? '');
const agent = createAgent(credentials, { queueFile, maxQueuedMessages: 1_000_000 });
agent.on('queue_problem', () => process.stdout.write('problem\n'));
let count = 0;
setInterval(() => {
  for (let i = 0; i < 20; i += 1) {
    agent.publish('devices/d1/t', String(count), { qos: 1 }).catch(() => undefined);
    count += 1;
  }
}, 5);
