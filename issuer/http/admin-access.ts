import { createHash, timingSafeEqual } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { BOOTSTRAP_KEY_NAME } from '../api-keys.ts';
import type { Administrator } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import type { Role } from '../roles.ts';
import type { KeyHolder } from './key-holder.ts';
import { callerOf } from './routes.ts';
import { MAX_BODY_BYTES } from './server.ts';
import { parseStrictJson } from './strict-json.ts';

/** Who acts, of each request that was let past. */
const administrators = new WeakMap<FastifyRequest, Administrator & { readonly role: Role }>();

/**
 * Lets nobody past who does not hold an admin key, in `api-key: KEY` or `Authorization: Bearer KEY`, of a role the
 * route is open to; and reads JSON strictly. Holds for all routes of this plugin, unknown ones too. `defaultRoles` may
 * use a route that says nothing of roles.
 * @param options.keyHolder knows keys that are not in the registry, but were made by this process
 */
export function guardAdminRoutes(
  app: FastifyInstance,
  issuer: Issuer,
  adminKey: string,
  {
    defaultRoles = ['admin'],
    keyHolder = () => undefined,
  }: { readonly defaultRoles?: readonly Role[]; readonly keyHolder?: KeyHolder } = {},
): void {
  const bootstrapHash = digest(adminKey);

  async function holderOf(request: FastifyRequest): Promise<{ name: string; role: Role }> {
    const presented = presentedKey(request);
    if (presented !== undefined && timingSafeEqual(digest(presented), bootstrapHash)) {
      return { name: BOOTSTRAP_KEY_NAME, role: 'admin' };
    }
    const held = presented === undefined ? undefined : keyHolder(presented);
    if (held !== undefined) return held;
    const key = presented === undefined ? undefined : await issuer.apiKeys.present(presented);
    if (key?.outcome === 'accepted') return key;
    const expired = key?.outcome === 'expired' ? key.name : undefined;
    await issuer.apiKeys.recordRefused(callerOf(request), expired, 'api_key_invalid');
    throw new FleetgateError(
      'api_key_invalid',
      expired === undefined ? 'Invalid API key' : `the API key '${expired}' has expired`,
    );
  }

  app.addHook('onRequest', async (request, reply) => {
    // An answer may hold a secret.
    reply.header('cache-control', 'no-store');
    const { name, role } = await holderOf(request);
    administrators.set(request, { ...callerOf(request), keyName: name, role });
    // Where nothing is served nobody is kept out.
    if (!request.is404) await needRole(issuer, request, request.routeOptions.config.roles ?? defaultRoles);
  });
  app.removeAllContentTypeParsers();
  const parser = async (_request: unknown, bytes: Buffer) =>
    bytes.length === 0 ? undefined : parseStrictJson(bytes);
  for (const type of ['application/json', 'application/merge-patch+json']) {
    app.addContentTypeParser(type, { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES }, parser);
  }
}

/** Who acts, for the audit trail. */
export function administratorOf(request: FastifyRequest): Administrator {
  return administrators.get(request) ?? nobody();
}

/** What its key is for. */
export function roleOf(request: FastifyRequest): Role {
  return (administrators.get(request) ?? nobody()).role;
}

/**
 * Refuses a request whose key is of none of these roles; for routes where it depends on more than the path.
 * @throws FleetgateError `role_insufficient`
 */
export async function needRole(
  issuer: Issuer,
  request: FastifyRequest,
  allowed: readonly Role[],
): Promise<void> {
  const { role, keyName } = administrators.get(request) ?? nobody();
  if (allowed.includes(role)) return;
  await issuer.apiKeys.recordRefused(callerOf(request), keyName, 'role_insufficient');
  throw new FleetgateError(
    'role_insufficient',
    `this needs an API key of role ${allowed.join(' or ')}; '${keyName}' is of role ${role}`,
  );
}

// The hook has run before any handler; if it had not, the request would be refused.
function nobody(): never {
  throw new Error('the request was not authenticated');
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
