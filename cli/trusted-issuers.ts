import { createTokenSource, readCredentialsFile } from '@fleetgate/agent';
import {
  type Logger,
  type RevocationFeedOptions,
  remoteRevocations,
  type TrustedIssuer,
} from '@fleetgate/broker';
import type { Config } from './config/schema.ts';

type TrustedIssuerConfig = Config['broker']['trusted_issuers'][number];

/** Scope of the token that reads an issuer's revocations. */
const FEED_SCOPE = 'fleetgate.revocations';

/**
 * A trusted issuer of the configuration, as the plugin takes it.
 * @throws FleetgateError `credentials_invalid`
 */
export async function trustedIssuer(config: TrustedIssuerConfig, log: Logger): Promise<TrustedIssuer> {
  const { issuer, jwks_uri, audience, algorithms, profile, credentials_file } = config;
  return {
    issuer,
    keys: { jwksUri: jwks_uri as string },
    ...(audience === undefined ? {} : { audience }),
    ...(algorithms === undefined ? {} : { algorithms }),
    ...(profile === undefined ? {} : { profile }),
    ...(credentials_file === undefined ? {} : { revocations: await feedOf(config, credentials_file, log) }),
  };
}

async function feedOf(
  { issuer, feed_max_away_seconds, refuse_when_feed_away }: TrustedIssuerConfig,
  credentialsFile: string,
  log: Logger,
): Promise<RevocationFeedOptions> {
  const credentials = await readCredentialsFile(credentialsFile);
  const tokens = createTokenSource({ ...credentials, scope: FEED_SCOPE });
  return {
    source: remoteRevocations({
      url: `${issuer.replace(/\/$/, '')}/revocations`,
      token: async () => (await tokens.get()).value,
      log,
    }),
    maxAwaySeconds: feed_max_away_seconds,
    refuseWhenAway: refuse_when_feed_away,
  };
}
