import { createTokenSource, readCredentialsFile } from '@fleetgate/agent';
import { type RevocationFeedOptions, remoteRevocations, type TrustedIssuer } from '@fleetgate/broker';
import { type Credentials, FleetgateError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import type { Config } from './config/schema.ts';
import { trustedIssuers } from './config/trusted-issuers.ts';

type ConfiguredIssuer = Config['broker']['trusted_issuers'][number];

/** Scope of the token that reads an issuer's revocations. */
const FEED_SCOPE = 'fleetgate.revocations';

/**
 * The trusted issuers of the configuration, each with the feed of its revocations where it has credentials for that.
 * @throws FleetgateError `config_invalid`, `credentials_invalid`
 */
export function remoteIssuers(
  configured: readonly ConfiguredIssuer[],
  log: Logger,
): Promise<readonly TrustedIssuer[]> {
  return Promise.all(
    trustedIssuers(configured).map(async (issuer, index) => {
      const one = configured[index] as ConfiguredIssuer;
      const { credentials_file: file } = one;
      if (file === undefined) return issuer;
      const key = `broker.trusted_issuers.${index}.credentials_file`;
      return { ...issuer, revocations: await feedOf(one, file, key, log) };
    }),
  );
}

async function feedOf(
  { issuer, feed_max_away_seconds, refuse_when_feed_away }: ConfiguredIssuer,
  credentialsFile: string,
  key: string,
  log: Logger,
): Promise<RevocationFeedOptions> {
  const credentials = await readCredentialsFile(credentialsFile);
  const problem = problemOf(credentials, issuer);
  if (problem !== undefined)
    throw new FleetgateError('config_invalid', `${key} ${credentialsFile} ${problem}`);
  const tokens = createTokenSource({ ...credentials, scope: FEED_SCOPE });
  return {
    source: remoteRevocations({
      url: `${issuer.replace(/\/$/, '')}/revocations`,
      token: async () => (await tokens.get()).value,
      log: log.child({ component: 'broker' }),
    }),
    maxAwaySeconds: feed_max_away_seconds,
    refuseWhenAway: refuse_when_feed_away,
  };
}

function problemOf({ auth, issuer: named }: Credentials, issuer: string): string | undefined {
  if (named !== issuer) return `is of issuer ${named}, not of ${issuer}, which would get its token`;
  if (auth.method === 'tls_client_auth') {
    // RFC 8705 §3: its tokens are good only beside the certificate.
    return (
      'authenticates by a certificate, which the feed is read without; ' +
      'register a client with a secret or a key for it'
    );
  }
  return undefined;
}
