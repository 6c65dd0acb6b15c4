/** An issuer with its admin API in a process of its own: options as JSON in argv, a line of JSON when it is ready. */
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';
import { fastify } from 'fastify';

const { directory, adminKey, ...options } = JSON.parse(process.argv[2] ?? '{}') as {
  directory: string;
  adminKey: string;
};
const issuer = await startIssuer({
  http: { host: '127.0.0.1', port: 0 },
  database: join(directory, 'fleetgate.db'),
  keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
  ...options,
});
const app = fastify();
await app.register(issuer.adminRoutes({ adminKey }));
const admin = await app.listen({ host: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ issuer: issuer.url, address: `http://127.0.0.1:${issuer.port}`, admin }));
