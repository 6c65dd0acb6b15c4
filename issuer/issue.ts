import { randomUUID } from 'node:crypto';
import {
  type AccessTokenClaims,
  FleetgateError,
  isIdentifier,
  MAX_TOKEN_LENGTH,
  NOT_BEFORE_MARGIN_SECONDS,
  OAuthError,
  type TokenResponse,
} from '@fleetgate/shared';
import type { Logger } from 'pino';
import { anonymousActor, auditEvent, type Caller, clientActor } from './audit.ts';
import type { AuthenticationAttempt } from './client-auth/client-auth.ts';
import { clientAuthMethods } from './client-auth/methods.ts';
import { type Grant, type GrantDefaults, grantFor } from './grant.ts';
import type { SigningKeys } from './keys.ts';
import type { ClientRecord, Registry } from './registry/registry.ts';
import type { TokenRequest } from './token-request.ts';

export interface IssueContext {
  readonly registry: Registry;
  readonly keys: SigningKeys;
  /** `iss`. */
  readonly issuerUrl: () => string;
  readonly defaults: GrantDefaults;
  readonly now: () => number;
  readonly newTokenId?: () => string;
  readonly log?: Logger | undefined;
}

/** The core of the issuer: knows no transport. */
export interface TokenIssuer {
  /**
   * Issues a token, or refuses. Either is in the audit trail, durably, before the promise settles.
   * @throws OAuthError, and nothing else
   */
  issue(request: TokenRequest): Promise<TokenResponse>;
  /**
   * Refuses what a transport could not read as a request. Recorded as other refusals are.
   * @throws OAuthError always
   */
  refuse(error: unknown, caller: Caller): Promise<never>;
}

interface SignedToken {
  readonly token: string;
  readonly tokenId: string;
  readonly issuedAtMs: number;
}

/** Issues tokens: authenticate, grant, sign, record, in this order. */
export function tokenIssuer(context: IssueContext): TokenIssuer {
  return {
    async issue(request) {
      const attempts = attemptsIn(request);
      try {
        const client = await authenticate(request, attempts, context);
        const grant = grantFor(client, request, context.defaults);
        const signed = sign(client, grant, context);
        await record(client, signed, request.caller, context);
        return respond(signed, grant);
      } catch (error) {
        return await recordRefusal(error, request.caller, claimedClientId(request, attempts), context);
      }
    },
    refuse: (error, caller) => recordRefusal(error, caller, undefined, context),
  };
}

async function authenticate(
  request: TokenRequest,
  attempts: readonly AuthenticationAttempt[],
  { registry }: IssueContext,
): Promise<ClientRecord> {
  // Not what the client may have, but whether this is a token request at all.
  if (request.grantType === undefined) throw new OAuthError('invalid_request', 'grant_type is missing');
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
  const client = isIdentifier(attempt.clientId) ? await registry.findClient(attempt.clientId) : undefined;
  if (!attempt.isProven(client) || client === undefined) throw clientRefused();
  return client;
}

// One answer for an unknown client, a wrong secret and a client that has just been deleted.
const clientRefused = () =>
  new OAuthError('invalid_client', 'the client is unknown or its authentication is wrong');

function attemptsIn(request: TokenRequest): AuthenticationAttempt[] {
  const attempts: AuthenticationAttempt[] = [];
  for (const method of clientAuthMethods.values()) {
    const attempt = method(request);
    if (attempt !== undefined) attempts.push(attempt);
  }
  return attempts;
}

function sign(client: ClientRecord, grant: Grant, context: IssueContext): SignedToken {
  const { keys, issuerUrl, now, newTokenId = randomUUID } = context;
  const issuedAtMs = now();
  const issuedAt = Math.floor(issuedAtMs / 1000);
  const tokenId = newTokenId();
  const claims: AccessTokenClaims = {
    iss: issuerUrl(),
    sub: client.clientId,
    client_id: client.clientId,
    aud: [...grant.audience],
    scp: [...grant.scopes],
    scope: grant.scopes.join(' '),
    stt: 1,
    jti: tokenId,
    iat: issuedAt,
    nbf: issuedAt - NOT_BEFORE_MARGIN_SECONDS,
    exp: issuedAt + grant.lifetimeSeconds,
    gid: tokenId,
    ...(client.group === undefined ? {} : { group: client.group }),
  };
  const token = keys.sign(claims);
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new OAuthError(
      'invalid_scope',
      `the token would be longer than ${MAX_TOKEN_LENGTH} characters, which no one accepts; ask for fewer scopes`,
    );
  }
  return { token, tokenId, issuedAtMs };
}

async function record(
  client: ClientRecord,
  { tokenId, issuedAtMs }: SignedToken,
  caller: Caller,
  { registry }: IssueContext,
): Promise<void> {
  const { clientId } = client;
  const actor = clientActor(clientId);
  const event = {
    atMs: issuedAtMs,
    actor,
    action: 'token.issue',
    caller,
    target: clientId,
    tokenId,
  } as const;
  if (!(await registry.recordIssuedToken(client, auditEvent(event)))) throw clientRefused();
}

function respond({ token }: SignedToken, { scopes, lifetimeSeconds }: Grant): TokenResponse {
  return {
    access_token: token,
    token_type: 'Bearer',
    expires_in: lifetimeSeconds,
    // RFC 6749 §3.3 knows no empty scope.
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
  };
}

function claimedClientId(
  { clientId }: TokenRequest,
  [attempt]: readonly AuthenticationAttempt[],
): string | undefined {
  const claimed = attempt?.clientId ?? clientId;
  return isIdentifier(claimed) ? claimed : undefined;
}

async function recordRefusal(
  error: unknown,
  caller: Caller,
  clientId: string | undefined,
  { registry, now, log }: IssueContext,
): Promise<never> {
  const refusal = asOAuthError(error);
  if (refusal.code === 'server_error') {
    log?.error({ err: error, requestId: caller.requestId }, 'token request failed');
  }
  const actor = clientId === undefined ? anonymousActor : clientActor(clientId);
  const event = { atMs: now(), actor, action: 'token.issue', caller, target: clientId } as const;
  try {
    await registry.recordEvent(auditEvent({ ...event, result: refusal.code }));
  } catch (cause) {
    log?.error({ err: cause, requestId: caller.requestId }, 'a refusal could not be recorded');
    throw unavailable(cause);
  }
  throw refusal;
}

function asOAuthError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  const isUnavailable = error instanceof FleetgateError && error.code === 'registry_unavailable';
  return isUnavailable
    ? unavailable(error)
    : new OAuthError('server_error', 'the request could not be served', { cause: error });
}

const unavailable = (cause: unknown) =>
  new OAuthError('temporarily_unavailable', 'the registry does not answer; try again later', { cause });
