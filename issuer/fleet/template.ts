import { isIdentifier, OAuthError } from '@fleetgate/shared';
import { checkAuthMethod, DEFAULT_AUTH_METHOD } from '../client-auth/methods.ts';
import type { ClientAuthParameters } from '../client-auth/parameters.ts';
import { certificateNameField, certificateNameKinds } from '../client-auth/registered-name.ts';
import {
  type ClientRegistration,
  checkRegistration,
  type RegistrationSettings,
} from '../client-registration.ts';
import type { JsonObject } from '../registry/registry.ts';
import { fillPattern, namesOf, type Pattern, parsePattern } from './pattern.ts';

/**
 * What the clients of a kind have in common. A pattern is filled by what is known of each device: `{serial}` or
 * whatever a row names, `{n}` the number of the row, `{uuid}`; all but `id` by `{client_id}` too.
 */
export interface Template extends Omit<ClientAuthParameters, 'jwks' | 'jwksUri'> {
  /** Pattern of the client ids. */
  readonly id: string;
  /** Pattern. */
  readonly name?: string | undefined;
  /** As of a client, `{client_id}` and `{group}` included: what a device says of itself never gets into a scope. */
  readonly scope?: string | undefined;
  readonly audience?: readonly string[] | undefined;
  readonly authMethod?: string | undefined;
  readonly tokenLifetimeSeconds?: number | undefined;
  /** How long after their making secrets end. Default: they do not. */
  readonly secretLifetimeSeconds?: number | undefined;
  /** Pattern. */
  readonly group?: string | undefined;
  /** Patterns. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: JsonObject | undefined;
}

/** What is known of one device. What is set here goes before what the template says. */
export interface DeviceRow {
  readonly clientId?: string | undefined;
  readonly name?: string | undefined;
  readonly group?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Its public keys, of a method that needs them. */
  readonly jwks?: unknown;
  /** All else, by name. */
  readonly values: ReadonlyMap<string, string>;
}

/** Where a device stands in what it came in, and what is made anew for each. */
export interface RowPlace {
  readonly number: number;
  readonly uuid: () => string;
}

/** Longest lifetime of a secret, as of a client: ten years. */
const MAX_SECRET_LIFETIME_SECONDS = 10 * 366 * 86_400;

/** Names that no row may give a value: they are filled from elsewhere. */
export const reservedNames: ReadonlySet<string> = new Set(['n', 'uuid']);

type PatternField = 'name' | 'group' | ReturnType<typeof certificateNameField>;

/** Those that are patterns beside `id` and the labels, each with its name on the wire. */
const patternFields: ReadonlyMap<PatternField, string> = new Map<PatternField, string>([
  ['name', 'name'],
  ['group', 'group'],
  ...certificateNameKinds.map((kind) => [certificateNameField(kind), `tls_client_auth_${kind}`] as const),
]);

/** A template that was checked, ready to be filled. */
export interface CompiledTemplate {
  /** The names of values that rows may give, for `{serial}` and its like. */
  readonly names: ReadonlySet<string>;
  /** What client ids are made of. */
  readonly idNames: readonly string[];
  /** What groups are made of. */
  readonly groupNames: readonly string[];
  /** @throws OAuthError `invalid_request`, naming what the row lacks or what is wrong with it */
  fill(row: DeviceRow, place: RowPlace, nowMs: number): ClientRegistration & { readonly clientId: string };
}

/**
 * Checks a template as far as it can be without a device.
 * @throws OAuthError `invalid_request`; FleetgateError `scope_malformed`, `not_supported`
 */
export function compileTemplate(template: Template, settings: RegistrationSettings): CompiledTemplate {
  const id = parsePattern('id', template.id);
  const patterns = new Map<PatternField, Pattern>();
  for (const [field, wireName] of patternFields) {
    const text = template[field];
    if (text !== undefined) patterns.set(field, parsePattern(wireName, text));
  }
  const labels = Object.entries(template.labels ?? {}).map(
    ([label, text]) => [label, parsePattern(`labels.${label}`, text)] as const,
  );
  if (namesOf(id).includes('client_id'))
    invalid('id is what client_id comes from, so it cannot hold {client_id}');
  if (namesOf(id).length === 0)
    invalid('id is the same for every device; give it a place, as sensor-{serial}');
  checkAuthMethod(template.authMethod ?? DEFAULT_AUTH_METHOD);
  checkLifetime(template.secretLifetimeSeconds);
  const { scope, audience, tokenLifetimeSeconds, metadata } = template;
  const fixed = { scope, audience, tokenLifetimeSeconds, metadata };
  checkRegistration({ ...fixed, labels: Object.fromEntries(labels.map(([label]) => [label, ''])) }, settings);
  const used = [id, ...patterns.values(), ...labels.map(([, pattern]) => pattern)].flatMap(namesOf);
  const names = new Set(used.filter((name) => !reservedNames.has(name) && name !== 'client_id'));

  return {
    names,
    idNames: namesOf(id),
    groupNames: namesOf(patterns.get('group') ?? { parts: [] }),
    fill(row, { number, uuid }, nowMs) {
      const values = new Map(row.values);
      values.set('n', String(number));
      if (used.includes('uuid')) values.set('uuid', uuid());
      const clientId = row.clientId ?? fillPattern('id', id, values);
      checkClientId(clientId);
      values.set('client_id', clientId);
      const filled = Object.fromEntries(
        Array.from(patterns, ([field, pattern]) => [
          field,
          fillPattern(patternFields.get(field) as string, pattern, values),
        ]),
      );
      const { authMethod, secretLifetimeSeconds } = template;
      return {
        ...fixed,
        ...filled,
        authMethod,
        clientId,
        ...(row.name !== undefined && { name: row.name }),
        ...(row.group !== undefined && { group: row.group }),
        labels: {
          ...Object.fromEntries(
            labels
              .filter(([label]) => !Object.hasOwn(row.labels ?? {}, label))
              .map(([label, pattern]) => [label, fillPattern(`labels.${label}`, pattern, values)]),
          ),
          ...row.labels,
        },
        ...(row.jwks !== undefined && { jwks: row.jwks }),
        ...(secretLifetimeSeconds !== undefined && {
          secretExpiresAtMs: nowMs + secretLifetimeSeconds * 1000,
        }),
      };
    },
  };
}

function checkClientId(clientId: string): void {
  if (isIdentifier(clientId as unknown)) return;
  const shown = clientId.slice(0, 80);
  invalid(`the client id comes out as '${shown}', and must match [A-Za-z0-9._-]{1,64}`);
}

function checkLifetime(seconds: number | undefined): void {
  if (seconds === undefined) return;
  if (Number.isSafeInteger(seconds) && seconds > 0 && seconds <= MAX_SECRET_LIFETIME_SECONDS) return;
  invalid(`secret_lifetime_seconds must be a whole number from 1 to ${MAX_SECRET_LIFETIME_SECONDS}`);
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
