/**
 * The order service: takes an order at the inventory service, with a token that is asked for once and used until it is due
 * for another.
 *
 *   CREDENTIALS_FILE=./order-service.json INVENTORY_URL=http://127.0.0.1:3002 node order-service.ts bolt-m8 4
 */
import { createTokenSource, readCredentialsFile } from '@fleetgate/agent';

const inventoryUrl = process.env['INVENTORY_URL'] ?? 'http://127.0.0.1:3002';
const [item = 'bolt-m8', quantity = '1'] = process.argv.slice(2);
const credentials = await readCredentialsFile(process.env['CREDENTIALS_FILE'] ?? 'order-service.json');
const tokens = createTokenSource(credentials);

async function call(path: string, body?: object): Promise<Response> {
  const { value } = await tokens.get();
  return fetch(`${inventoryUrl}${path}`, {
    headers: { authorization: `Bearer ${value}`, 'content-type': 'application/json' },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
}

async function say(what: string, answer: Response): Promise<void> {
  console.log(`${what}: ${answer.status} ${await answer.text()}`);
  if (answer.ok) return;
  const challenge = answer.headers.get('www-authenticate');
  if (challenge !== null) console.log(challenge);
  process.exitCode = 1;
}

await say('stock', await call(`/stock/${encodeURIComponent(item)}`));
await say('reservation', await call('/reservations', { item, quantity: Number(quantity) }));
