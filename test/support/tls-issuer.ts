import { loadTlsFiles } from '@fleetgate/broker';
import type { IssuerOptions } from '@fleetgate/issuer';
import { onTestFinished } from 'vitest';
import { type Authority, certificateFolder, createAuthority, type Pair } from './certificates.ts';
import { type HttpsFetch, httpsFetch } from './https-fetch.ts';
import { type IssuerFixture, issuerFixture } from './issuer-fixture.ts';

export interface TlsIssuer extends IssuerFixture {
  /** Of the server's certificate and, unless left out, of the clients'. */
  readonly authority: Authority;
  readonly folder: ReturnType<typeof certificateFolder>;
  /** Requests by a connection with this client certificate. */
  fetchWith(certificate?: Pair, more?: { readonly maxVersion?: 'TLSv1.2' }): HttpsFetch;
  /** The grant with `client_id` alone. */
  tokenBy(certificate: Pair | undefined, clientId: string, more?: Record<string, string>): Promise<Response>;
}

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** An issuer whose public listener speaks TLS. */
export async function tlsIssuer(
  options: Partial<IssuerOptions> & { readonly knowsAuthority?: boolean } = {},
): Promise<TlsIssuer> {
  const { knowsAuthority = true, ...more } = options;
  const authority = await createAuthority();
  const server = await authority.issue('issuer');
  const folder = certificateFolder();
  onTestFinished(folder.remove);
  const files = {
    certFile: folder.write('server.pem', server.cert),
    keyFile: folder.write('server.key', server.key),
    ...(knowsAuthority ? { clientCaFile: folder.write('ca.pem', authority.cert) } : {}),
  };
  const fixture = await issuerFixture({
    http: { host: '127.0.0.1', port: 0, tls: () => loadTlsFiles(files, quiet) },
    ...more,
  });
  const fetchWith: TlsIssuer['fetchWith'] = (certificate, tls = {}) =>
    httpsFetch({ ca: authority.cert, ...certificate, ...tls });
  return {
    ...fixture,
    authority,
    folder,
    fetchWith,
    tokenBy: (certificate, clientId, parameters = {}) =>
      fetchWith(certificate)(`${fixture.issuer.url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, ...parameters }),
      }),
  };
}
