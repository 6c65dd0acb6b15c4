/**
 * The inventory service: an HTTP API on Express whose routes want access tokens with the audience `inventory`.
 *
 *   ISSUER_URL=http://127.0.0.1:8080 PORT=3002 node inventory-service.ts
 */
import type { AddressInfo } from 'node:net';
import { bearerAuth } from '@fleetgate/express';
import express from 'express';

const { requireAnyScope, requireScopes } = bearerAuth({
  issuer: process.env['ISSUER_URL'] ?? 'http://127.0.0.1:8080',
  audience: 'inventory',
});
const stock = new Map([
  ['bolt-m8', 40],
  ['nut-m8', 3],
]);

const app = express();
app.use(express.json());
app.get('/stock/:item', requireAnyScope('stock.read', 'stock.reserve'), (request, response) => {
  const item = String(request.params['item']);
  response.json({ item, quantity: stock.get(item) ?? 0 });
});
app.post('/reservations', requireScopes('stock.reserve'), (request, response) => {
  const { item, quantity } = request.body as { item: string; quantity: number };
  const left = stock.get(item) ?? 0;
  if (!(Number.isSafeInteger(quantity) && quantity > 0)) {
    response.status(400).json({ error: 'quantity must be a whole number above 0' });
  } else if (quantity > left) {
    response.status(409).json({ error: `${left} left of ${item}` });
  } else {
    stock.set(item, left - quantity);
    response.status(201).json({ item, quantity, reservedBy: request.auth?.clientId });
  }
});

const server = app.listen(Number(process.env['PORT'] ?? 3002), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`inventory service on http://127.0.0.1:${port}`);
});
process.once('SIGTERM', () => server.close());
