import { loadTlsFiles } from '@fleetgate/broker';
import type { HttpOptions } from '@fleetgate/issuer';
import type { Logger } from 'pino';
import type { Config } from './schema.ts';
import { unreadableIn } from './unreadable-files.ts';

type HttpConfig = Config['issuer']['http'];

/** The public listener as the issuer takes it. Certificates are read by the rules of the broker's listeners. */
export function issuerHttpOptions(http: HttpConfig, log: Logger): HttpOptions {
  const {
    host,
    port,
    tls_cert_file: certFile,
    tls_key_file: keyFile,
    tls_client_ca_file: clientCaFile,
  } = http;
  if (certFile === undefined || keyFile === undefined) return { host, port };
  return { host, port, tls: () => loadTlsFiles({ certFile, keyFile, clientCaFile }, log) };
}

/** What is wrong with the listener beyond single keys: a line each, with its mend. */
export function issuerHttpProblems(http: HttpConfig): string[] {
  const { tls_cert_file, tls_key_file, tls_client_ca_file } = http;
  if (tls_cert_file === undefined && tls_key_file === undefined) {
    return tls_client_ca_file === undefined
      ? []
      : ['issuer.http.tls_client_ca_file is of no use without tls_cert_file and tls_key_file'];
  }
  const missing = (['tls_cert_file', 'tls_key_file'] as const)
    .filter((name) => http[name] === undefined)
    .map((name) => `issuer.http.${name} is missing; certificate and key go together`);
  return [...missing, ...unreadableIn('issuer.http', http)];
}
