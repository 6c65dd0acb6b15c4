/** Starts an issuer in the directory given, with the database given, prints the keys it publishes, and stops: one of several processes on one database. */
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';

const [directory = '.', database = join(directory, 'fleetgate.db')] = process.argv.slice(2);
const issuer = await startIssuer({
  http: { host: '127.0.0.1', port: 0 },
  database,
  keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
});
console.log(JSON.stringify(issuer.jwks()));
await issuer.close();
