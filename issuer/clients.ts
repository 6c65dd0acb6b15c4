import { randomUUID } from 'node:crypto';
import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import {
  type AuditAction,
  type AuditEvent,
  adminActor,
  anonymousActor,
  auditEvent,
  type Caller,
} from './audit.ts';
import { DEFAULT_AUTH_METHOD, usesSecret } from './client-auth/methods.ts';
import { type ClientAuthRegistration, readClientAuth } from './client-auth/registration.ts';
import { checkRegisteredScope } from './grant.ts';
import type { ClientRecord, JsonObject, NewClientRecord, Registry } from './registry/registry.ts';
import { expiring } from './revocation.ts';
import { generateSecret, hashSecret } from './secrets.ts';
import { isTokenLifetime, MAX_TOKEN_LIFETIME_SECONDS } from './token-lifetime.ts';

/** Clients on one page of a list. Ours: about a megabyte of JSON. */
export const MAX_PAGE_CLIENTS = 1000;

// Limits of one registration, all ours: together a client stays near 32 KiB.
const MAX_NAME_LENGTH = 256;
const MAX_AUDIENCES = 16;
const MAX_AUDIENCE_LENGTH = 256;
const MAX_LABELS = 64;
const MAX_LABEL_LENGTH = 256;
const MAX_METADATA_LENGTH = 8192;

/** What is asked to be registered. Whatever is unset has a default. */
export interface ClientRegistration extends ClientAuthRegistration {
  /** Default: a UUID. */
  readonly clientId?: string | undefined;
  readonly name?: string | undefined;
  /** Space-separated. Default: none. */
  readonly scope?: string | undefined;
  /** Default: the issuer's default audience, when a token is issued. */
  readonly audience?: readonly string[] | undefined;
  /** Default: `client_secret_basic`. */
  readonly authMethod?: string | undefined;
  /** Default: `client_credentials`. */
  readonly grantTypes?: readonly string[] | undefined;
  readonly group?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: JsonObject | undefined;
  readonly tokenLifetimeSeconds?: number | undefined;
  readonly supertokens?: JsonObject | undefined;
}

export interface ClientPage {
  readonly clients: readonly ClientRecord[];
  readonly nextAfter: string | undefined;
}

export interface RegisteredClient {
  readonly client: NewClientRecord;
  /** Shown this once; only its hash is kept. Unset for a method of authentication without secrets. */
  readonly clientSecret?: string;
}

/** An administrator, by the name of the API key, and where the request came from. */
export interface Administrator extends Caller {
  readonly keyName: string;
}

/** The administrative acts on clients. Each, done or refused, is in the audit trail before its promise settles. */
export interface Clients {
  /** @throws FleetgateError `registry_conflict`, `scope_malformed`, `not_supported`, `invalid_request` */
  create(registration: ClientRegistration, by: Administrator): Promise<RegisteredClient>;
  /** One page, ordered by id; `nextAfter` is there when more follow. */
  list(page: { readonly after?: string | undefined; readonly limit: number }): Promise<ClientPage>;
  find(clientId: string): Promise<ClientRecord | undefined>;
  /** Whether there was such a client. Its next token request is refused, and the tokens it has are revoked. */
  delete(clientId: string, by: Administrator): Promise<boolean>;
  /** Records that somebody was refused as an administrator. */
  recordIntruder(caller: Caller): Promise<void>;
}

/** @param onRevoked called after an act that revoked tokens */
export function openClients(registry: Registry, now: () => number, onRevoked: () => void): Clients {
  const event = (by: Administrator, action: AuditAction, target: string | undefined, result?: string) =>
    auditEvent({
      atMs: now(),
      actor: adminActor(by.keyName),
      action,
      caller: by,
      target,
      ...(result && { result }),
    });

  function deleteClient(clientId: string, event: AuditEvent): Promise<boolean> {
    const atSeconds = Math.floor(event.atMs / 1000);
    return registry.deleteClient(expiring({ kind: 'client', clientId, atSeconds }, atSeconds), event);
  }

  return {
    async create(registration, by) {
      const target = isIdentifier(registration.clientId) ? registration.clientId : undefined;
      try {
        checkRegistration(registration);
        const { authMethod = DEFAULT_AUTH_METHOD } = registration;
        const clientSecret = usesSecret(authMethod) ? generateSecret() : undefined;
        const client = newClient(registration, clientSecret, now());
        if (!(await registry.createClient(client, event(by, 'client.create', client.clientId)))) {
          throw new FleetgateError('registry_conflict', `client '${client.clientId}' is registered already`);
        }
        return clientSecret === undefined ? { client } : { client, clientSecret };
      } catch (error) {
        if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
        await registry.recordEvent(event(by, 'client.create', target, error.code));
        throw error;
      }
    },
    async list({ after, limit }) {
      const size = Math.min(limit, MAX_PAGE_CLIENTS);
      const found = await registry.listClients({
        limit: size + 1,
        ...(after === undefined ? {} : { after }),
      });
      const clients = found.slice(0, size);
      return { clients, nextAfter: found.length > size ? clients.at(-1)?.clientId : undefined };
    },
    find: async (clientId) => (isIdentifier(clientId) ? registry.findClient(clientId) : undefined),
    async delete(clientId, by) {
      const target = isIdentifier(clientId) ? clientId : undefined;
      const isDeleted =
        target !== undefined && (await deleteClient(target, event(by, 'client.delete', target)));
      if (isDeleted) onRevoked();
      else await registry.recordEvent(event(by, 'client.delete', target, 'client_unknown'));
      return isDeleted;
    },
    recordIntruder: (caller) =>
      registry.recordEvent(
        auditEvent({
          atMs: now(),
          actor: anonymousActor,
          action: 'admin.authenticate',
          caller,
          result: 'api_key_invalid',
        }),
      ),
  };
}

function newClient(
  registration: ClientRegistration,
  secret: string | undefined,
  atMs: number,
): NewClientRecord {
  const { authMethod = DEFAULT_AUTH_METHOD } = registration;
  return {
    clientId: registration.clientId ?? randomUUID(),
    name: registration.name,
    scope: registration.scope ?? '',
    audience: Array.from(new Set(registration.audience)),
    authMethod,
    authParameters: readClientAuth(authMethod, registration),
    grantTypes: registration.grantTypes ?? ['client_credentials'],
    group: registration.group,
    labels: registration.labels ?? {},
    metadata: registration.metadata ?? {},
    tokenLifetimeSeconds: registration.tokenLifetimeSeconds,
    secretHashes: secret === undefined ? [] : [hashSecret(secret)],
    supertokens: registration.supertokens ?? {},
    createdAtMs: atMs,
    updatedAtMs: atMs,
  };
}

// Visible ASCII but quote and backslash, as in a scope token: an audience is asked for separated by spaces too.
const audiencePattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const controlPattern = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

function checkRegistration(registration: ClientRegistration): void {
  const { clientId, name, scope, audience, group, labels, metadata } = registration;
  if (clientId !== undefined && !isIdentifier(clientId)) invalid('client_id must match [A-Za-z0-9._-]{1,64}');
  if (group !== undefined && !isIdentifier(group)) invalid('group must match [A-Za-z0-9._-]{1,64}');
  if (name !== undefined) checkText('name', name, MAX_NAME_LENGTH);
  if (scope !== undefined) checkRegisteredScope(scope);
  if (audience !== undefined) checkAudience(audience);
  if (labels !== undefined) checkLabels(labels);
  if (metadata !== undefined && JSON.stringify(metadata).length > MAX_METADATA_LENGTH) {
    invalid(`metadata must be at most ${MAX_METADATA_LENGTH} characters of JSON`);
  }
  checkTokenLifetime(registration.tokenLifetimeSeconds);
}

function checkAudience(audience: readonly string[]): void {
  if (audience.length > MAX_AUDIENCES) invalid(`audience must have at most ${MAX_AUDIENCES} entries`);
  for (const one of audience) {
    if (one.length > MAX_AUDIENCE_LENGTH || !audiencePattern.test(one)) {
      invalid(`an audience must be 1 to ${MAX_AUDIENCE_LENGTH} visible ASCII characters without " and \\`);
    }
  }
}

function checkLabels(labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) invalid(`labels must have at most ${MAX_LABELS} entries`);
  for (const [label, value] of entries) {
    if (!isIdentifier(label)) invalid('a label must match [A-Za-z0-9._-]{1,64}');
    checkText(`label ${label}`, value, MAX_LABEL_LENGTH);
  }
}

function checkTokenLifetime(seconds: number | undefined): void {
  if (seconds === undefined || isTokenLifetime(seconds)) return;
  invalid(`token_lifetime_seconds must be a whole number from 1 to ${MAX_TOKEN_LIFETIME_SECONDS}`);
}

// Shown in tables and logs, where a line break or an escape sequence would do harm.
function checkText(field: string, text: string, maxLength: number): void {
  if (text.length > maxLength || controlPattern.test(text) || !text.isWellFormed()) {
    invalid(`${field} must be at most ${maxLength} characters without control characters`);
  }
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
