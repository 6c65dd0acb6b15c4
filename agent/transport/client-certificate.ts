import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type CredentialsAuth, FleetgateError } from '@fleetgate/shared';
import { readBoundedFile, readPrivateFile } from '../store.ts';
import type { ClientCertificate } from './exchange.ts';

type CertificateFiles = Pick<CredentialsAuth & { method: 'tls_client_auth' }, 'cert_file' | 'key_file'>;

/**
 * Certificate and key as they are in their files now: one that was renewed is shown from the next connection on.
 * @throws FleetgateError `credentials_invalid` naming the file: it cannot be read, the key may be read by others than
 * its owner, or the two do not belong together
 */
export async function clientCertificate({
  cert_file: certFile,
  key_file: keyFile,
}: CertificateFiles): Promise<ClientCertificate> {
  const [cert, key] = await Promise.all([readBoundedFile(certFile), readPrivateFile(keyFile)]);
  const certificate = parsed(certFile, 'certificate', () => new X509Certificate(cert));
  const privateKey = parsed(keyFile, 'private key', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new FleetgateError(
      'credentials_invalid',
      `the key in ${keyFile} does not belong to the certificate in ${certFile}`,
    );
  }
  return { cert, key };
}

function parsed<Value>(file: string, what: string, parse: () => Value): Value {
  try {
    return parse();
  } catch {
    // The library's message may quote the key.
    throw new FleetgateError('credentials_invalid', `${file} holds no PEM ${what} without a passphrase`);
  }
}
