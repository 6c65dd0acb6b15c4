import type pg from 'pg';
import type { OwnedContext } from '../secret-registry.ts';
import { asRegistryError } from './connection.ts';
import { gather } from './gather.ts';

const findAll = `
  SELECT clients.client_id, secret.secret_id, secret.kid, secret.encrypted_context
  FROM client_secrets AS secret JOIN clients ON clients.registration = secret.registration
  WHERE secret.kid = ANY ($1::bytea[])`;

interface ContextRow {
  client_id: string;
  secret_id: string;
  kid: Buffer;
  encrypted_context: Buffer;
}

const nameOf = (kid: Uint8Array) => Buffer.from(kid).toString('hex');

/** Finds the context that each request over CoAP names, which anybody may send. */
export function contextFinder(pool: pg.Pool): (kid: Uint8Array) => Promise<OwnedContext | undefined> {
  return gather(async (asked: readonly Uint8Array[]) => {
    const values = [asked.map((kid) => Buffer.from(kid))];
    const { rows } = await pool
      .query<ContextRow>({ name: 'fleetgate_contexts', text: findAll, values })
      .catch((error: unknown) => {
        throw asRegistryError(error);
      });
    const found = new Map(rows.map((row) => [nameOf(row.kid), row]));
    return asked.map((kid) => {
      const row = found.get(nameOf(kid));
      if (row === undefined) return undefined;
      const { client_id: clientId, secret_id: secretId, encrypted_context: encrypted } = row;
      return { clientId, secretId, context: { kid, encrypted } };
    });
  });
}
