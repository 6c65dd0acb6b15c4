import { FleetgateError } from '@fleetgate/shared';
import { type ClientCertificate, thumbprintOf } from '../client-certificate.ts';
import type { ClientRecord } from '../registry/registry.ts';
import type { ClientRequest } from '../token-request.ts';
import { namesOf } from './certificate-names.ts';
import type { AuthenticationAttempt, ClientAuthContext, Proof } from './client-auth.ts';
import { fingerprintOf } from './client-key-set.ts';
import { hasName, registeredNames } from './registered-name.ts';

const refused: Proof = {
  isProven: false,
  reason: new FleetgateError('certificate_refused', 'the certificate is not that of the client'),
};

/**
 * The certificate of the TLS connection, with `client_id` in the body (RFC 8705 §2): one that an authority we know
 * issued to a name the client is registered with, or the very one it is registered with.
 */
export function certificateAuth({ clientId, certificate }: ClientRequest): AuthenticationAttempt | undefined {
  if (clientId === undefined || certificate === undefined) return undefined;
  return {
    method: 'tls_client_auth',
    clientId,
    async prove(client, context): Promise<Proof> {
      if (!isValidAt(certificate, context.now())) return refused;
      const isProven =
        client?.authMethod === 'self_signed_tls_client_auth'
          ? await isRegistered(certificate, client, context)
          : isNamed(certificate, client);
      return isProven ? { isProven, certificateThumbprint: thumbprintOf(certificate) } : refused;
    },
  };
}

/** RFC 8705 §2.1: the chain leads to an authority of ours, and the name is the registered one. */
function isNamed({ x509, isTrusted }: ClientCertificate, client: ClientRecord | undefined): boolean {
  const names = namesOf(x509);
  const [registered] = client === undefined ? [] : registeredNames(client);
  return isTrusted && names !== undefined && registered !== undefined && hasName(names, registered);
}

/** RFC 8705 §2.2: no authority is asked; a key that is registered without a certificate stands for any with that key. */
async function isRegistered(
  certificate: ClientCertificate,
  client: ClientRecord,
  { clientKeys }: ClientAuthContext,
): Promise<boolean> {
  const thumbprint = thumbprintOf(certificate);
  const fingerprint = fingerprintOf(certificate.x509.publicKey);
  const keys = await clientKeys.of(client, undefined);
  return keys.some((key) =>
    key.certificateThumbprint === undefined
      ? key.fingerprint === fingerprint
      : key.certificateThumbprint === thumbprint,
  );
}

// Also of a chain that was good at the handshake: the connection, or a session that was resumed, may be old.
function isValidAt({ x509 }: ClientCertificate, nowMs: number): boolean {
  return x509.validFromDate.getTime() <= nowMs && nowMs <= x509.validToDate.getTime();
}
