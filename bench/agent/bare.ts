/** What the agent is held against: mqtt.js alone, with a token that was fetched before. Publishes the lines on standard input. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from 'mqtt';

const [url = '', clientId = '', tokenFile = ''] = process.argv.slice(2);
const client = connect(url, {
  clientId,
  username: clientId,
  password: readFileSync(tokenFile, 'utf8'),
  clean: true,
});
const stop = () => client.end(() => process.exit(0));
process.on('SIGTERM', stop);
for await (const line of createInterface({ input: process.stdin })) {
  const { topic, payload, qos } = JSON.parse(line);
  client.publish(topic, payload, { qos });
}
