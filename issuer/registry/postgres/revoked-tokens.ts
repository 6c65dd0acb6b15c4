import type pg from 'pg';
import type { RevocableToken } from '../../revocation.ts';
import { isHitSql } from '../acts/revocations.ts';
import { asRegistryError } from './connection.ts';
import { gather } from './gather.ts';

const hits = `
  SELECT ${isHitSql({ tokenId: 'asked.token', keyId: 'asked.key', clientId: 'asked.client', at: 'asked.moment' })} AS is_hit
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
    AS asked (token, key, client, moment, number)
  ORDER BY number`;

/** Whether a revocation hits each token that is introspected or shown to the issuer itself. */
export function revokedTokens(pool: pg.Pool): (token: RevocableToken) => Promise<boolean> {
  return gather(async (asked: readonly RevocableToken[]) => {
    const values = [
      asked.map(({ tokenId }) => tokenId),
      asked.map(({ keyId }) => keyId),
      asked.map(({ clientId }) => clientId),
      asked.map(({ issuedAtSeconds }) => issuedAtSeconds),
    ];
    const { rows } = await pool
      .query<{ is_hit: 0 | 1 }>({ name: 'fleetgate_hits', text: hits, values })
      .catch((error: unknown) => {
        throw asRegistryError(error);
      });
    return rows.map(({ is_hit }) => is_hit === 1);
  });
}
