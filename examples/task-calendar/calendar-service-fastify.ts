/**
 * The calendar service on Fastify with `@fleetgate/fastify`: the API of calendar-service.ts, whose answers say why a
 * request is refused.
 *
 *   ISSUER_URL=http://127.0.0.1:8080 PORT=3001 node calendar-service-fastify.ts
 */
import { bearerAuth } from '@fleetgate/fastify';
import { fastify } from 'fastify';

const events: unknown[] = [];
const app = fastify();
await app.register(bearerAuth, {
  issuer: process.env['ISSUER_URL'] ?? 'http://127.0.0.1:8080',
  audience: 'event',
});
app.get('/events', { onRequest: app.requireAnyScope('event.view', 'event.create') }, async () => ({
  events,
}));
app.post('/events', { onRequest: app.requireScopes('event.create') }, async (request, reply) => {
  events.push(request.body);
  return reply.code(201).send({ created: request.body, createdBy: request.auth?.clientId });
});

const address = await app.listen({ host: '127.0.0.1', port: Number(process.env['PORT'] ?? 3001) });
console.log(`calendar service on ${address}`);
process.once('SIGTERM', () => app.close());
