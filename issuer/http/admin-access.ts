import { createHash, timingSafeEqual } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Administrator } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import { callerOf } from './routes.ts';
import { MAX_BODY_BYTES } from './server.ts';
import { parseStrictJson } from './strict-json.ts';

/** The name under which the one admin key stands in the audit trail. */
const KEY_NAME = 'default';

/**
 * Lets nobody past who does not hold the admin key, in `api-key: KEY` or `Authorization: Bearer KEY`; and reads JSON
 * strictly. Holds for all routes of this plugin, unknown ones too.
 */
export function guardAdminRoutes(app: FastifyInstance, issuer: Issuer, adminKey: string): void {
  const expected = digest(adminKey);
  app.addHook('onRequest', async (request, reply) => {
    // An answer may hold a secret.
    reply.header('cache-control', 'no-store');
    const presented = presentedKey(request);
    if (presented !== undefined && timingSafeEqual(digest(presented), expected)) return;
    await issuer.clients.recordIntruder(callerOf(request));
    throw new FleetgateError('api_key_invalid', 'Invalid API key');
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
    async (_request: unknown, bytes: Buffer) => (bytes.length === 0 ? undefined : parseStrictJson(bytes)),
  );
}

/** Who acts, for the audit trail. */
export function administratorOf(request: FastifyRequest): Administrator {
  return { ...callerOf(request), keyName: KEY_NAME };
}

function presentedKey({ headers }: FastifyRequest): string | undefined {
  const apiKey = headers['api-key'];
  if (apiKey !== undefined) return typeof apiKey === 'string' ? apiKey : undefined;
  return /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

// Digests have one length, whatever was presented.
function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
