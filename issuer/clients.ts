import { createHash } from 'node:crypto';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import { type AuditAction, type AuditEvent, adminActor, auditEvent, type Caller } from './audit.ts';
import {
  type ClientRegistration,
  type ClientsOptions,
  makeClient,
  type RegisteredClient,
} from './client-registration.ts';
import type { ClientFilter } from './registry/client-changes.ts';
import type { ClientRecord, Registry } from './registry/registry.ts';
import { expiring } from './revocation.ts';

/** Clients on one page of a list. Ours: about a megabyte of JSON. */
export const MAX_PAGE_CLIENTS = 1000;

/** How long a creation is known by its key; draft-ietf-httpapi-idempotency-key-header leaves it to us. */
const CREATION_KEY_LIFETIME_MS = 86_400_000;

export interface ClientPage {
  readonly clients: readonly ClientRecord[];
  readonly nextAfter: string | undefined;
}

/** A client that the same request made before. */
export interface RepeatedClient {
  readonly client: ClientRecord;
  readonly shown: Record<string, never>;
  readonly isRepeated: true;
}

/** An administrator, by the name of the API key, and where the request came from. */
export interface Administrator extends Caller {
  readonly keyName: string;
}

/** The administrative acts on clients. Each, done or refused, is in the audit trail before its promise settles. */
export interface Clients {
  /** @throws FleetgateError `registry_conflict`, `scope_malformed`, `not_supported`, `invalid_request` */
  create(registration: ClientRegistration, by: Administrator): Promise<RegisteredClient>;
  /**
   * As `create`, once for each key of an administrator within 24 h: the same request again answers the client that is
   * there. Without its secret: what could show it again could be stolen, while one that was lost is rotated.
   * @throws FleetgateError `idempotency_key_reused`, `client_unknown` when it was deleted since, and those of `create`
   */
  createOnce(
    registration: ClientRegistration,
    key: string,
    by: Administrator,
  ): Promise<RegisteredClient | RepeatedClient>;
  /** One page, ordered by id; `nextAfter` is there when more follow. */
  list(page: {
    readonly after?: string | undefined;
    readonly limit: number;
    readonly filter?: ClientFilter | undefined;
  }): Promise<ClientPage>;
  find(clientId: string): Promise<ClientRecord | undefined>;
  /** Whether there was such a client. Its next token request is refused, and the tokens it has are revoked. */
  delete(clientId: string, by: Administrator): Promise<boolean>;
}

/** @param onRevoked called after an act that revoked tokens */
export function openClients(
  registry: Registry,
  now: () => number,
  onRevoked: () => void,
  settings: ClientsOptions,
): Clients {
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

  /** Makes a client and has it inserted; a refusal is recorded. */
  async function make<T>(
    registration: ClientRegistration,
    by: Administrator,
    insert: (made: RegisteredClient, event: AuditEvent) => Promise<T>,
  ): Promise<T> {
    const target = isIdentifier(registration.clientId) ? registration.clientId : undefined;
    try {
      const made = makeClient(registration, settings, now());
      return await insert(made, event(by, 'client.create', made.client.clientId));
    } catch (error) {
      if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
      await registry.recordEvent(event(by, 'client.create', target, error.code));
      throw error;
    }
  }

  return {
    create: (registration, by) =>
      make(registration, by, async (made, done) => {
        if (!(await registry.createClient(made.client, done))) throw taken(made.client.clientId);
        return made;
      }),
    createOnce: (registration, key, by) =>
      make(registration, by, async (made, done) => {
        const created = await registry.createClientOnce(
          made.client,
          {
            owner: by.keyName,
            keyHash: sha256(key),
            requestHash: sha256(JSON.stringify(registration)),
            notBeforeMs: done.atMs - CREATION_KEY_LIFETIME_MS,
          },
          done,
        );
        switch (created.outcome) {
          case 'created':
            return made;
          case 'conflict':
            throw taken(made.client.clientId);
          case 'key_reused':
            throw new FleetgateError(
              'idempotency_key_reused',
              'this Idempotency-Key came with another request before; use a new one for each creation',
            );
        }
        const { client } = created;
        if (client === undefined) {
          throw new FleetgateError(
            'client_unknown',
            'the client this Idempotency-Key created was deleted since',
          );
        }
        await registry.recordEvent(event(by, 'client.create', client.clientId, 'repeated'));
        return { client, shown: {}, isRepeated: true };
      }),
    async list({ after, limit, filter }) {
      const size = Math.min(limit, MAX_PAGE_CLIENTS);
      const found = await registry.listClients({
        limit: size + 1,
        ...(after === undefined ? {} : { after }),
        ...(filter === undefined ? {} : { filter }),
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
  };
}

const sha256 = (text: string) => createHash('sha256').update(text).digest();

const taken = (clientId: string) =>
  new FleetgateError('registry_conflict', `client '${clientId}' is registered already`);
