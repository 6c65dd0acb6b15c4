import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import type { ClientRecord } from '../registry/registry.ts';
import type { ClientRequest } from '../token-request.ts';
import { certificateAuth } from './certificate-auth.ts';
import type { AuthenticationAttempt, ClientAuthContext } from './client-auth.ts';
import { clientAuthMethods, isProvenBy } from './methods.ts';

/** Who a request says it comes from, before anything is proven. */
export interface ClaimedClient {
  readonly attempts: readonly AuthenticationAttempt[];
  /** The id it names, if it could be one. */
  readonly clientId: string | undefined;
}

/** A client that has proven to be one. */
export interface AuthenticatedClient extends ClientRecord {
  /** `x5t#S256` of the certificate it proved it by. */
  readonly certificateThumbprint?: string;
}

/** What a request says of its client, by all methods it uses. */
export function claimedClient(request: ClientRequest): ClaimedClient {
  const attempts: AuthenticationAttempt[] = [];
  for (const method of clientAuthMethods.values()) {
    const attempt = method(request);
    if (attempt !== undefined) attempts.push(attempt);
  }
  // A client may have a certificate for other reasons: it is the proof where there is no other.
  const byCertificate = attempts.length === 0 ? certificateAuth(request) : undefined;
  if (byCertificate !== undefined) attempts.push(byCertificate);
  const claimed = attempts[0]?.clientId ?? request.clientId;
  return { attempts, clientId: isIdentifier(claimed) ? claimed : undefined };
}

/**
 * The client that a request proves to come from (RFC 6749 §2.3).
 * @throws OAuthError `invalid_client`, `invalid_request`, `temporarily_unavailable`; FleetgateError
 *   `registry_unavailable`
 */
export async function authenticateClient(
  request: ClientRequest,
  { attempts }: ClaimedClient,
  context: ClientAuthContext,
): Promise<AuthenticatedClient> {
  const [attempt, another] = attempts;
  if (another !== undefined) {
    // RFC 6749 §2.3: one method in each request.
    throw new OAuthError('invalid_request', 'the client authenticates by more than one method');
  }
  if (attempt === undefined) {
    throw new OAuthError('invalid_client', 'the request holds no client authentication');
  }
  const { clientId, method, certificateThumbprint } = attempt;
  if (request.clientId !== undefined && request.clientId !== clientId) {
    throw new OAuthError('invalid_request', 'client_id names another client than the authentication');
  }
  const found = isIdentifier(clientId) ? await context.registry.findClient(clientId) : undefined;
  // By another method than it is registered for it is as unknown as anybody.
  const client = found !== undefined && isProvenBy(found.authMethod, method) ? found : undefined;
  if (!(await attempt.isProven(client, context)) || client === undefined) throw clientRefused();
  refuseQuarantined(client);
  return certificateThumbprint === undefined ? client : { ...client, certificateThumbprint };
}

/**
 * Refuses a client in quarantine as if it were unknown; the audit has the reason.
 * @throws OAuthError `invalid_client`, caused by `client_quarantined`
 */
export function refuseQuarantined({ clientId, quarantine }: ClientRecord): void {
  if (quarantine === undefined) return;
  throw clientRefused(new FleetgateError('client_quarantined', `client '${clientId}' is in quarantine`));
}

/** One answer for an unknown client, a wrong proof, a client in quarantine and one that has just been deleted. */
export const clientRefused = (cause?: FleetgateError) =>
  new OAuthError('invalid_client', 'the client is unknown or its authentication is wrong', { cause });
