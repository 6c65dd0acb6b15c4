import { type Credentials, type CredentialsAuth, FleetgateError } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';

/** What an answer of the admin API shows once, of which a credentials file is made. */
export interface ShownCredential {
  client_secret?: string;
  /** With `auth_method` oscore, in hexadecimal. */
  oscore?: { master_secret: string; master_salt: string; sender_id: string; recipient_id: string };
}

/** The part of a credentials file that says how and where a token is asked for. */
export type HowToAsk = Pick<Credentials, 'auth' | 'token_endpoint'>;

/**
 * What a credentials file says of this credential.
 * @throws FleetgateError `server_error` for an answer without one
 */
export async function howToAsk(
  { client_secret, oscore }: ShownCredential,
  admin: Pick<AdminClient, 'coapTokenEndpoint'>,
): Promise<HowToAsk> {
  if (oscore === undefined) return { auth: secretAuth(client_secret) };
  const endpoint = await admin.coapTokenEndpoint();
  if (endpoint === undefined) {
    throw new FleetgateError('server_error', 'the issuer answered with a context, and serves no CoAP');
  }
  return { auth: { method: 'oscore', ...oscore }, token_endpoint: endpoint };
}

/** How a client with a secret authenticates. */
export function secretAuth(secret: string | undefined): CredentialsAuth {
  if (secret === undefined)
    throw new FleetgateError('server_error', 'the issuer answered without a client secret');
  return { method: 'client_secret_basic', client_secret: secret };
}
