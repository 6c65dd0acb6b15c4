import { isDeepStrictEqual } from 'node:util';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import { administrativeActs } from './administrative-act.ts';
import {
  type ClientRegistration,
  checkRegistration,
  checkText,
  type RegistrationSettings,
  registered,
} from './client-registration.ts';
import type { Administrator } from './clients.ts';
import { fieldChanges } from './field-changes.ts';
import { mergePatch } from './merge-patch.ts';
import type { ClientRecord, JsonObject, Registry } from './registry/registry.ts';
import { expiring } from './revocation.ts';

/** Characters of a reason; a sentence. */
const MAX_REASON_LENGTH = 256;

/** Changes by others that one change gives way to. */
const MAX_UPDATE_TRIES = 5;

/** A merge patch (RFC 7396) on a {@link ClientRegistration}: null takes a field back to its default. */
export type ClientChange = {
  readonly [Field in Exclude<keyof ClientRegistration, 'clientId'>]?: unknown;
};

/** A change that is more than a merge: what is to be registered, from what is. Called again when that has changed. */
export type ClientReplacement = (current: ClientRecord) => ClientRegistration;

export interface UpdateOptions {
  /** Whether the client is the one that is to be changed. Default: it is. */
  readonly isExpected?: ((client: ClientRecord) => boolean) | undefined;
  /** Also revoke the tokens it has, which else keep what they were issued with until they expire. */
  readonly revokesTokens?: boolean | undefined;
}

/** Acts on registered clients. Each, done or refused, is in the audit trail before its promise settles. */
export interface ClientChanges {
  /**
   * Changes what is registered; it holds for the next token.
   * @throws FleetgateError `client_unknown`, `precondition_failed`, and what a registration is refused by
   */
  update(
    clientId: string,
    change: ClientChange | ClientReplacement,
    by: Administrator,
    options?: UpdateOptions,
  ): Promise<ClientRecord>;
  /**
   * Deletes the client, if it is the one that is to be deleted, and revokes its tokens.
   * @throws FleetgateError `client_unknown`, `precondition_failed`
   */
  deleteExpected(
    clientId: string,
    isExpected: (client: ClientRecord) => boolean,
    by: Administrator,
  ): Promise<void>;
  /**
   * Revokes its tokens and issues it no more. Outside it is as if it were unknown.
   * @throws FleetgateError `client_unknown`, `invalid_request`
   */
  quarantine(clientId: string, reason: string, by: Administrator): Promise<ClientRecord>;
  /** Issues it tokens again. @throws FleetgateError `client_unknown` */
  release(clientId: string, by: Administrator): Promise<ClientRecord>;
}

/** @param onRevoked called after an act that revoked tokens */
export function openClientChanges(
  registry: Registry,
  now: () => number,
  onRevoked: () => void,
  settings: RegistrationSettings,
): ClientChanges {
  const { event, recorded } = administrativeActs(registry, now);

  async function find(clientId: string): Promise<ClientRecord> {
    const client = isIdentifier(clientId) ? await registry.findClient(clientId) : undefined;
    if (client === undefined) throw new FleetgateError('client_unknown', 'there is no such client');
    return client;
  }

  async function update(
    clientId: string,
    change: ClientChange | ClientReplacement,
    by: Administrator,
    { isExpected = () => true, revokesTokens = false }: UpdateOptions,
  ): Promise<ClientRecord> {
    for (let tries = 0; tries < MAX_UPDATE_TRIES; tries += 1) {
      const current = await find(clientId);
      if (!isExpected(current)) throw notAsExpected();
      const next = changed(current, change, now(), settings);
      const done = event(by, 'client.update', clientId);
      if (next === current && !revokesTokens) {
        await registry.recordEvent(done);
        return current;
      }
      const revocation = revokesTokens ? ofAllTokens(clientId, now()) : undefined;
      const changes = fieldChanges(registered(current), registered(next), settings.tokenClaims);
      const changing = changes.length === 0 ? done : { ...done, changes };
      if (!(await registry.updateClient(next, changing, revocation))) continue;
      if (revokesTokens) onRevoked();
      return find(clientId);
    }
    throw new FleetgateError('registry_conflict', `client '${clientId}' is being changed by others`);
  }

  return {
    update: (clientId, change, by, options = {}) =>
      recorded('client.update', clientId, by, () => update(clientId, change, by, options)),
    deleteExpected: (clientId, isExpected, by) =>
      recorded('client.delete', clientId, by, async () => {
        const current = await find(clientId);
        const done = event(by, 'client.delete', clientId);
        const isDeleted =
          isExpected(current) &&
          (await registry.deleteClient(ofAllTokens(clientId, done.atMs), done, current));
        if (!isDeleted) throw notAsExpected();
        onRevoked();
      }),
    quarantine: (clientId, reason, by) =>
      recorded('client.quarantine', clientId, by, async () => {
        checkText('reason', reason, MAX_REASON_LENGTH);
        await find(clientId);
        const done = event(by, 'client.quarantine', clientId);
        const revocation = { ...ofAllTokens(clientId, done.atMs), isQuarantined: true } as const;
        await registry.quarantineClient(revocation, reason, done);
        onRevoked();
        return find(clientId);
      }),
    release: (clientId, by) =>
      recorded('client.release', clientId, by, async () => {
        await find(clientId);
        const done = event(by, 'client.release', clientId);
        if (!(await registry.releaseClient(clientId, done))) await registry.recordEvent(done);
        return find(clientId);
      }),
  };
}

const notAsExpected = () =>
  new FleetgateError('precondition_failed', 'the client is not as If-Match names it');

/** The client with the change; itself when that changes nothing. */
function changed(
  current: ClientRecord,
  change: ClientChange | ClientReplacement,
  atMs: number,
  settings: RegistrationSettings,
): ClientRecord {
  const before = registered(current);
  const registration =
    typeof change === 'function'
      ? change(current)
      : (mergePatch(before, change as JsonObject) as ClientRegistration);
  checkRegistration(registration, settings);
  const after = registered(registration);
  return isDeepStrictEqual(before, after) ? current : { ...current, ...after, updatedAtMs: atMs };
}

function ofAllTokens(clientId: string, atMs: number) {
  const atSeconds = Math.floor(atMs / 1000);
  return expiring({ kind: 'client' as const, clientId, atSeconds }, atSeconds);
}
