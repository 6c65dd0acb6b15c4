import { randomUUID } from 'node:crypto';
import { isIdentifier, OAuthError } from '@fleetgate/shared';
import { checkChosenSecret } from './chosen-secret.ts';
import { DEFAULT_AUTH_METHOD } from './client-auth/methods.ts';
import {
  type ClientAuthRegistration,
  checkClientAuth,
  clientAuthParameters,
} from './client-auth/registration.ts';
import {
  type MadeCredential,
  makeCredential,
  type RandomBytes,
  type ShownCredential,
} from './client-credential.ts';
import type { GrantSettings } from './grant.ts';
import type { ContextVault } from './oscore-context.ts';
import { checkRegisteredScope } from './registered-scope.ts';
import type { JsonObject, NewClientRecord } from './registry/registry.ts';
import { checkSecretEnd, unusedSecret } from './secrets.ts';
import { checkClaimMetadata } from './token-claims.ts';
import { isTokenLifetime } from './token-lifetime.ts';

// Limits of one registration, all ours: together a client stays near 32 KiB.
const MAX_NAME_LENGTH = 256;
const MAX_AUDIENCES = 16;
const MAX_AUDIENCE_LENGTH = 256;
const MAX_LABELS = 64;
const MAX_LABEL_LENGTH = 256;
const MAX_METADATA_LENGTH = 8192;
const MAX_SUPERTOKENS_LENGTH = 8192;

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
  /** When its secret ends, in milliseconds since 1970. Default: no end. */
  readonly secretExpiresAtMs?: number | undefined;
  /** One that was made elsewhere; see {@link checkChosenSecret}. Default: one is made. */
  readonly clientSecret?: string | undefined;
}

export interface RegisteredClient {
  readonly client: NewClientRecord;
  /** Shown this once. Empty for a method of authentication without secrets. */
  readonly shown: ShownCredential;
  readonly isRepeated?: false;
}

/** What the issuer's configuration says of registrations. */
export type RegistrationSettings = Pick<GrantSettings, 'maxTokenLifetimeSeconds' | 'tokenClaims'>;

export interface ClientsOptions extends RegistrationSettings {
  readonly contexts: ContextVault;
}

/**
 * A client as it is to be kept, with what it is to prove itself by.
 * @param random what that is made of. Default: the operating system's
 * @throws FleetgateError `invalid_request`, `scope_malformed`, `not_supported`
 */
export function makeClient(
  registration: ClientRegistration,
  settings: ClientsOptions,
  atMs: number,
  random?: RandomBytes,
): RegisteredClient {
  checkRegistration(registration, settings);
  checkSecretEnd('secret_expires_at', registration.secretExpiresAtMs, atMs);
  const { authMethod = DEFAULT_AUTH_METHOD, clientSecret: chosen } = registration;
  const made = makeCredential(authMethod, settings.contexts, { chosen, random });
  if (made === undefined && registration.secretExpiresAtMs !== undefined) {
    invalid(`secret_expires_at is of no use with auth_method ${authMethod}`);
  }
  return { client: newClient(registration, made?.kept, atMs), shown: made?.shown ?? {} };
}

function newClient(
  registration: ClientRegistration,
  kept: MadeCredential['kept'] | undefined,
  atMs: number,
): NewClientRecord {
  const times = { createdAtMs: atMs, expiresAtMs: registration.secretExpiresAtMs };
  return {
    clientId: registration.clientId ?? randomUUID(),
    ...registered(registration),
    secrets: kept === undefined ? [] : [unusedSecret(kept, times)],
    createdAtMs: atMs,
    updatedAtMs: atMs,
  };
}

/** What a registration says of a client, with the defaults of what it leaves out. */
export function registered(registration: ClientRegistration) {
  return {
    name: registration.name,
    scope: registration.scope ?? '',
    audience: Array.from(new Set(registration.audience)),
    authMethod: registration.authMethod ?? DEFAULT_AUTH_METHOD,
    ...clientAuthParameters(registration),
    grantTypes: registration.grantTypes ?? ['client_credentials'],
    group: registration.group,
    labels: registration.labels ?? {},
    metadata: registration.metadata ?? {},
    tokenLifetimeSeconds: registration.tokenLifetimeSeconds,
    supertokens: registration.supertokens ?? {},
  };
}

// Visible ASCII but quote and backslash, as in a scope token: an audience is asked for separated by spaces too.
const audiencePattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const controlPattern = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

/** @throws FleetgateError `invalid_request`, `scope_malformed`, `not_supported` */
export function checkRegistration(registration: ClientRegistration, settings: RegistrationSettings): void {
  const { clientId, name, scope, audience, group, labels, metadata } = registration;
  if (clientId !== undefined && !isIdentifier(clientId)) invalid('client_id must match [A-Za-z0-9._-]{1,64}');
  if (group !== undefined && !isIdentifier(group)) invalid('group must match [A-Za-z0-9._-]{1,64}');
  if (name !== undefined) checkText('name', name, MAX_NAME_LENGTH);
  checkClientAuth(registration.authMethod ?? DEFAULT_AUTH_METHOD, registration);
  if (scope !== undefined) checkRegisteredScope(scope);
  if (audience !== undefined) checkAudience(audience);
  if (labels !== undefined) checkLabels(labels);
  if (metadata !== undefined && JSON.stringify(metadata).length > MAX_METADATA_LENGTH) {
    invalid(`metadata must be at most ${MAX_METADATA_LENGTH} characters of JSON`);
  }
  if (metadata !== undefined) checkClaimMetadata(metadata, settings.tokenClaims);
  if (JSON.stringify(registration.supertokens ?? {}).length > MAX_SUPERTOKENS_LENGTH) {
    invalid(`the fields of other grants must be at most ${MAX_SUPERTOKENS_LENGTH} characters of JSON`);
  }
  if (registration.clientSecret !== undefined) checkChosenSecret(registration.clientSecret);
  checkTokenLifetime(registration.tokenLifetimeSeconds, settings);
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

function checkTokenLifetime(
  seconds: number | undefined,
  { maxTokenLifetimeSeconds }: RegistrationSettings,
): void {
  if (seconds === undefined || (isTokenLifetime(seconds) && seconds <= maxTokenLifetimeSeconds)) return;
  invalid(
    `token_lifetime_seconds must be a whole number from 1 to ${maxTokenLifetimeSeconds}, the issuer's ` +
      'max_token_lifetime_seconds',
  );
}

/** Refuses what would do harm in tables and logs: line breaks, escape sequences. */
export function checkText(field: string, text: string, maxLength: number): void {
  if (text.length > maxLength || controlPattern.test(text) || !text.isWellFormed()) {
    invalid(`${field} must be at most ${maxLength} characters without control characters`);
  }
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
