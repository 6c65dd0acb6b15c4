import { type Credentials, FleetgateError } from '@fleetgate/shared';
import { clientCertificate } from './client-certificate.ts';
import type { ClientCertificate } from './exchange.ts';
import { privateKeyJwt } from './private-key-jwt.ts';

/** What proves to the issuer, in one request, who asks. */
export interface ClientProof {
  readonly headers?: Readonly<Record<string, string>>;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly certificate?: ClientCertificate;
  /** What no message may repeat, in each form in which it is sent. */
  readonly secrets: readonly string[];
}

/** Makes the proof of the next request. */
export type ClientAuthentication = () => Promise<ClientProof>;

/**
 * How a device with these credentials authenticates over HTTP.
 * @throws FleetgateError `credentials_invalid` for a key that signs nothing, `not_supported` for another way
 */
export function clientAuthentication(credentials: Credentials): ClientAuthentication {
  const { auth, client_id: clientId } = credentials;
  switch (auth.method) {
    case 'client_secret_basic':
      return clientSecretBasic(clientId, auth.client_secret);
    case 'private_key_jwt':
      return privateKeyJwt(credentials, auth.private_jwk);
    case 'tls_client_auth':
      return async () => ({
        // RFC 8705 §2: the certificate alone does not say whose it is.
        parameters: { client_id: clientId },
        certificate: await clientCertificate(auth),
        secrets: [],
      });
    case 'oscore':
      throw new FleetgateError('not_supported', 'auth.method oscore is for CoAP, and has no proof over HTTP');
  }
}

/** RFC 6749 §2.3.1: id and secret are form-encoded each, then joined for HTTP Basic. */
function clientSecretBasic(clientId: string, secret: string): ClientAuthentication {
  const pair = Buffer.from(`${formEncode(clientId)}:${formEncode(secret)}`, 'utf8').toString('base64');
  const proof = {
    headers: { authorization: `Basic ${pair}` },
    secrets: [pair, secret, formEncode(secret)],
  };
  return async () => proof;
}

function formEncode(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}
