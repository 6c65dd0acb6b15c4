import { readFileSync } from 'node:fs';
import { checkTrustedIssuer, type TrustedIssuer } from '@fleetgate/broker';
import { FleetgateError, isSecureAddress } from '@fleetgate/shared';
import type { Config } from './schema.ts';
import { readSecretFile } from './secret-file.ts';

type ConfiguredIssuer = Config['broker']['trusted_issuers'][number];

const keyOf = (index: number) => `broker.trusted_issuers.${index}`;

/**
 * What only several keys of a trusted issuer together, or several of them, show to be wrong: a line each.
 * @param embedded `iss` of the issuer that runs beside the broker, where it is known
 */
export function trustedIssuerProblems(
  issuers: readonly ConfiguredIssuer[],
  embedded: string | undefined,
): string[] {
  const seen = new Set(embedded === undefined ? [] : [embedded]);
  const problems: string[] = [];
  for (const [index, issuer] of issuers.entries()) {
    for (const problem of issuerProblems(issuer)) problems.push(`${keyOf(index)}${problem}`);
    if (seen.has(issuer.issuer)) {
      problems.push(`${keyOf(index)}.issuer ${issuer.issuer} is trusted already; leave one of them out`);
    }
    seen.add(issuer.issuer);
  }
  return problems;
}

function issuerProblems(configured: ConfiguredIssuer): string[] {
  const { issuer, jwks_uri, jwks_file, profile, claims, types, max_stale_seconds } = configured;
  const problems: string[] = [];
  if (jwks_uri !== undefined && jwks_file !== undefined) {
    problems.push(' has both jwks_uri and jwks_file; leave one of them out');
  }
  if (jwks_uri !== undefined && !isSecureAddress(jwks_uri)) {
    problems.push('.jwks_uri must be https unless its host is loopback, and without user and password');
  }
  if (jwks_uri === undefined && jwks_file === undefined && !isSecureAddress(issuer)) {
    problems.push(
      '.issuer must be https unless its host is loopback, for its keys to be found by its metadata; ' +
        'give its jwks_uri or jwks_file otherwise',
    );
  }
  if (profile === 'supertokens' && (claims ?? types) !== undefined) {
    problems.push(' has claims or types beside profile supertokens, which fixes them; leave one of them out');
  }
  if (jwks_file !== undefined && max_stale_seconds !== undefined) {
    problems.push('.max_stale_seconds is for keys that are fetched; leave it out beside jwks_file');
  }
  return problems;
}

/**
 * The trusted issuers of the configuration as the broker takes them.
 * @throws FleetgateError `config_invalid`; the message names the key, or the file and what is wrong in it
 */
export function trustedIssuers(issuers: readonly ConfiguredIssuer[]): TrustedIssuer[] {
  return issuers.map((configured, index) => {
    const issuer = trustedIssuer(configured);
    try {
      checkTrustedIssuer(issuer);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new FleetgateError('config_invalid', inKeys(error.message, index, configured));
    }
    return issuer;
  });
}

/** What the broker says of its options, said of the keys they were given by. */
function inKeys(message: string, index: number, { jwks_file: file }: ConfiguredIssuer): string {
  const [option = ''] = /^profile\.\w+/.exec(message) ?? [];
  const key = keyOfOption.get(option);
  if (key !== undefined) return `${keyOf(index)}.${key}${message.slice(option.length)}`;
  return file === undefined ? `${keyOf(index)}: ${message}` : `${keyOf(index)}.jwks_file ${file}: ${message}`;
}

const keyOfOption: ReadonlyMap<string, string> = new Map([
  ['profile.clientId', 'claims.client_id'],
  ['profile.scope', 'claims.scope'],
  ['profile.group', 'claims.group'],
  ['profile.types', 'types'],
]);

function trustedIssuer(configured: ConfiguredIssuer): TrustedIssuer {
  const { issuer, audience, algorithms, scope_format: scopeFormat } = configured;
  const { introspection } = configured;
  const { max_stale_seconds: maxStaleSeconds } = configured;
  const profile = profileOf(configured);
  return {
    issuer,
    keys: keysOf(configured),
    ...(introspection === undefined ? {} : { introspection: introspectionOf(introspection) }),
    ...(scopeFormat === 'named' ? {} : { scopeFormat }),
    ...(audience === undefined ? {} : { audience }),
    ...(algorithms === undefined ? {} : { algorithms }),
    ...(profile === undefined ? {} : { profile }),
    ...(maxStaleSeconds === undefined ? {} : { maxStaleSeconds }),
  };
}

function introspectionOf({
  endpoint,
  client_id: clientId,
  client_secret_file: file,
  interval_seconds: intervalSeconds,
}: NonNullable<ConfiguredIssuer['introspection']>): NonNullable<TrustedIssuer['introspection']> {
  return {
    clientId,
    clientSecret: readSecretFile(file, 'client_secret_file'),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(intervalSeconds === undefined ? {} : { intervalSeconds }),
  };
}

function profileOf({ profile, claims, types }: ConfiguredIssuer): TrustedIssuer['profile'] {
  if ((claims ?? types) === undefined) return profile;
  const { client_id: clientId, scope, group } = claims ?? {};
  return {
    ...(clientId === undefined ? {} : { clientId }),
    ...(scope === undefined ? {} : { scope }),
    ...(group === undefined ? {} : { group }),
    ...(types === undefined ? {} : { types }),
  };
}

function keysOf({ jwks_uri: jwksUri, jwks_file: file }: ConfiguredIssuer): TrustedIssuer['keys'] {
  if (jwksUri !== undefined) return { jwksUri };
  return file === undefined ? { discover: true } : { keySet: readKeySet(file) };
}

// What is in it is checked by the broker.
function readKeySet(file: string): never {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as never;
  } catch (error) {
    const why = error instanceof SyntaxError ? 'it is not JSON' : (error as NodeJS.ErrnoException).code;
    throw new FleetgateError(
      'config_invalid',
      `cannot read the key set ${file} (${why}); mend the file or jwks_file`,
    );
  }
}
