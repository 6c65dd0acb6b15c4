import type { AccessToken } from '../access-token.ts';
import { createTokenSource } from '../token-source.ts';
import { cacheOf, type DeviceFlags, deviceCredentials, tokenFailure } from './device.ts';

export interface TokenFlags extends DeviceFlags {
  format: 'text' | 'json';
}

/** `fleetgate-agent token`: asks once, and prints the token alone or as JSON. */
export async function printToken(flags: TokenFlags): Promise<void> {
  const credentials = await deviceCredentials(flags);
  const cache = cacheOf(credentials, flags);
  const token = await createTokenSource(credentials, {
    ...(cache && { cache }),
    ...(flags.tracer && { tracer: flags.tracer }),
  })
    .get()
    .catch((error: unknown) => {
      throw tokenFailure(error, credentials, flags.credentials);
    });
  process.stdout.write(flags.format === 'json' ? formatTokenJson(token) : `${token.value}\n`);
}

function formatTokenJson(token: AccessToken): string {
  const expiresAt = new Date(Date.now() + token.expiresInSeconds() * 1000).toISOString();
  return `${JSON.stringify({ access_token: token.value, expires_at: expiresAt, scope: token.scope }, null, 2)}\n`;
}
