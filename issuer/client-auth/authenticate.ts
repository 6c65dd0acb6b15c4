import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import type { UsedAssertion } from '../registry/assertions.ts';
import type { ClientRecord } from '../registry/registry.ts';
import { recordSecretUse } from '../secret-use.ts';
import { isLiveSecret } from '../secrets.ts';
import type { ClientRequest } from '../token-request.ts';
import { certificateAuth } from './certificate-auth.ts';
import type { AuthenticationAttempt, ClientAuthContext } from './client-auth.ts';
import { secretEnded } from './client-secret.ts';
import { clientAuthMethods, isProvenBy } from './methods.ts';
import { oscoreAuth } from './oscore.ts';
import { hasSameProof } from './registration.ts';

/** Who a request says it comes from, before anything is proven. */
export interface ClaimedClient {
  readonly attempts: readonly AuthenticationAttempt[];
  /** The id it names, if it could be one. */
  readonly clientId: string | undefined;
}

/** A client that has proven to be one. */
export interface AuthenticatedClient extends ClientRecord {
  /** The secret it proved it by. */
  readonly secretId?: string;
  /** `x5t#S256` of the certificate it proved it by. */
  readonly certificateThumbprint?: string;
  /** The assertion it proved it by, which is to be used once: by whoever serves the request. */
  readonly assertion?: UsedAssertion;
}

/** Of requests being served: limits and authentication both look, and reading an assertion is not cheap. */
const claims = new WeakMap<ClientRequest, ClaimedClient>();

/** What a request says of its client, by all methods it uses. */
export function claimedClient(request: ClientRequest): ClaimedClient {
  const read = claims.get(request) ?? readClaim(request);
  claims.set(request, read);
  return read;
}

function readClaim(request: ClientRequest): ClaimedClient {
  const attempts: AuthenticationAttempt[] = [];
  for (const method of [oscoreAuth, ...clientAuthMethods.values()]) {
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
 * The client that a request proves to come from (RFC 6749 §2.3), by what nobody used before.
 * @throws OAuthError `invalid_client`, `invalid_request`, `temporarily_unavailable`; FleetgateError
 *   `registry_unavailable`
 */
export async function authenticateClient(
  request: ClientRequest,
  claimed: ClaimedClient,
  context: ClientAuthContext,
): Promise<AuthenticatedClient> {
  const client = await proveClient(request, claimed, context);
  await useProof(client, context);
  return client;
}

/**
 * Uses up the assertion that the client proved itself by, if it was one.
 * @throws OAuthError `invalid_client` when it was used before; FleetgateError `registry_unavailable`
 */
export async function useProof(
  { assertion }: AuthenticatedClient,
  { registry, now }: ClientAuthContext,
): Promise<void> {
  if (assertion === undefined) return;
  if (!(await registry.useAssertion(assertion, Math.floor(now() / 1000)))) throw assertionUsed();
}

/** The same without a look whether its assertion was used before: `recordIssuedToken` looks, or `useProof`. */
export async function proveClient(
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
  if (request.clientId !== undefined && request.clientId !== attempt.clientId) {
    throw new OAuthError('invalid_request', 'client_id names another client than the authentication');
  }
  const { clientId, method } = attempt;
  const found = isIdentifier(clientId) ? await context.registry.findClient(clientId) : undefined;
  // By another method than it is registered for it is as unknown as anybody.
  const client = found !== undefined && isProvenBy(found.authMethod, method) ? found : undefined;
  const proof = await attempt.prove(client, context);
  if (!proof.isProven) throw clientRefused(proof.reason);
  if (client === undefined) throw clientRefused();
  const { secret, certificateThumbprint, assertion } = proof;
  if (assertion !== undefined && client.quarantine !== undefined)
    await useProof({ ...client, assertion }, context);
  refuseQuarantined(client);
  if (certificateThumbprint !== undefined) return { ...client, certificateThumbprint };
  if (assertion !== undefined) return { ...client, assertion };
  if (secret === undefined) return client;
  await recordSecretUse(client, secret, request.caller, context);
  return { ...client, secretId: secret.secretId };
}

/**
 * The client as it is now, which was proven when it was read before.
 * @throws OAuthError `invalid_client` when it was deleted or put into quarantine since, or what it was proven by ended
 */
export async function readAgain(
  before: AuthenticatedClient,
  { registry, now }: ClientAuthContext,
): Promise<AuthenticatedClient> {
  const { clientId, registration, secretId, certificateThumbprint, assertion } = before;
  const client = await registry.findClient(clientId);
  if (client === undefined || client.registration !== registration) throw clientRefused();
  refuseQuarantined(client);
  if (!hasSameProof(client, before)) throw clientRefused();
  if (certificateThumbprint !== undefined) return { ...client, certificateThumbprint };
  if (assertion !== undefined) return { ...client, assertion };
  if (secretId === undefined) return client;
  const secret = client.secrets.find((one) => one.secretId === secretId);
  if (secret === undefined || !isLiveSecret(secret, now())) throw clientRefused(secretEnded());
  return { ...client, secretId };
}

/**
 * Refuses a client in quarantine as if it were unknown; the audit has the reason.
 * @throws OAuthError `invalid_client`, caused by `client_quarantined`
 */
export function refuseQuarantined({ clientId, quarantine }: ClientRecord): void {
  if (quarantine === undefined) return;
  throw clientRefused(new FleetgateError('client_quarantined', `client '${clientId}' is in quarantine`));
}

/** For the audit trail; the client is not told. */
export const assertionUsed = () =>
  clientRefused(new FleetgateError('assertion_used', 'the assertion was used before'));

/** One answer for an unknown client, a wrong proof, a secret that has ended, a client in quarantine and one that has just been deleted. */
export const clientRefused = (cause?: FleetgateError) =>
  new OAuthError('invalid_client', 'the client is unknown or its authentication is wrong', { cause });
