import { randomUUID } from 'node:crypto';
import {
  type AccessTokenClaims,
  MAX_TOKEN_LENGTH,
  NOT_BEFORE_MARGIN_SECONDS,
  OAuthError,
  type TokenResponse,
} from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type AuditAction, auditEvent, type Caller, clientActor } from './audit.ts';
import {
  type AuthenticatedClient,
  assertionUsed,
  claimedClient,
  clientRefused,
  proveClient,
  readAgain,
  useProof,
} from './client-auth/authenticate.ts';
import type { ClientAuthContext } from './client-auth/client-auth.ts';
import { type Grant, type GrantSettings, grantFor } from './grant.ts';
import type { SignedClaims, SigningKeys } from './keys/signing-keys.ts';
import { recordRefusal } from './refusal.ts';
import type { Registry, TokenRecorded } from './registry/registry.ts';
import { MAX_ISSUED_AHEAD_SECONDS } from './token-lifetime.ts';
import type { TokenRequest } from './token-request.ts';
import { type TokenTarget, targetClaims } from './token-targets.ts';

export interface IssueContext {
  readonly registry: Registry;
  readonly clientAuth: ClientAuthContext;
  readonly keys: SigningKeys;
  /** `iss`. */
  readonly issuerUrl: () => string;
  readonly grants: GrantSettings;
  /** Default: none. */
  readonly targets?: readonly TokenTarget[];
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
   * Refuses what a transport could not read as a request. Recorded as other refusals are; `action` is what it was
   * a request for, by default a token.
   * @throws OAuthError always
   */
  refuse(error: unknown, caller: Caller, action?: AuditAction): Promise<never>;
}

interface SignedToken extends SignedClaims {
  readonly tokenId: string;
  /** `iat`. */
  readonly issuedAtSeconds: number;
}

/** Revocations and changes of one client, and keys retired meanwhile, that one request for a token gives way to. */
const MAX_ISSUE_TRIES = 5;

/** Rotations by other processes that one request gives way to: no more keys are ever published at once. */
const MAX_RETIRED_MEANWHILE = 32;

/** Issues tokens: authenticate, grant, sign, record, in this order. */
export function tokenIssuer(context: IssueContext): TokenIssuer {
  return {
    async issue(request) {
      const { caller } = request;
      const claimed = claimedClient(request);
      try {
        // Not what the client may have, but whether this is a token request at all.
        if (request.grantType === undefined) throw new OAuthError('invalid_request', 'grant_type is missing');
        const client = await proveClient(request, claimed, context.clientAuth);
        return await issueTo(client, request, context);
      } catch (error) {
        const { clientId } = claimed;
        return await recordRefusal(error, { action: 'token.issue', caller, clientId }, context);
      }
    },
    refuse: (error, caller, action = 'token.issue') =>
      recordRefusal(error, { action, caller, clientId: undefined }, context),
  };
}

/** The assertion that proved the client is used up by the token, or by the refusal. */
async function issueTo(
  client: AuthenticatedClient,
  request: TokenRequest,
  context: IssueContext,
): Promise<TokenResponse> {
  try {
    return await grantAndSign(client, request, context);
  } catch (error) {
    await useProof(client, context.clientAuth);
    throw error;
  }
}

/** A token of what the client may have when it is recorded, and not of what it might when the request came. */
async function grantAndSign(
  authenticated: AuthenticatedClient,
  request: TokenRequest,
  context: IssueContext,
): Promise<TokenResponse> {
  let client = authenticated;
  for (let tries = 0; tries < MAX_ISSUE_TRIES; tries += 1) {
    const grant = grantFor(client, request, context.grants);
    const signed = await signAndRecord(client, grant, request, context);
    if (signed !== undefined) return respond(signed, grant);
    client = await readAgain(client, context.clientAuth);
  }
  throw new OAuthError('temporarily_unavailable', 'the client is being changed');
}

/** A token that no recorded revocation hits: one of this very second moves its `iat` to the next. Unset when the client has changed. */
async function signAndRecord(
  client: AuthenticatedClient,
  grant: Grant,
  { caller, maxTokenLength = MAX_TOKEN_LENGTH }: Pick<TokenRequest, 'caller' | 'maxTokenLength'>,
  context: IssueContext,
): Promise<SignedToken | undefined> {
  const atMs = context.now();
  let issuedAtSeconds = Math.floor(atMs / 1000);
  let retired = 0;
  let tries = 0;
  while (tries < MAX_ISSUE_TRIES && retired < MAX_RETIRED_MEANWHILE) {
    const signed = await sign(client, grant, { atMs, issuedAtSeconds, maxTokenLength }, context);
    const recorded = await record(client, signed, { atMs, caller }, context);
    if (recorded.outcome === 'recorded') return signed;
    if (recorded.outcome === 'registration_changed') return undefined;
    if (recorded.outcome === 'registration_ended') throw clientRefused();
    if (recorded.outcome === 'assertion_used') throw assertionUsed();
    if (recorded.outcome === 'key_retired') {
      // By another process, a moment ago.
      await context.keys.reload();
      retired += 1;
      continue;
    }
    tries += 1;
    issuedAtSeconds = recorded.validFromSeconds;
    if (issuedAtSeconds * 1000 - atMs > MAX_ISSUED_AHEAD_SECONDS * 1000) break;
  }
  throw new OAuthError(
    'temporarily_unavailable',
    retired < MAX_RETIRED_MEANWHILE
      ? 'the tokens of this client are revoked up to a later moment'
      : 'the signing keys are being rotated again and again',
  );
}

async function sign(
  client: AuthenticatedClient,
  grant: Grant,
  {
    atMs,
    issuedAtSeconds,
    maxTokenLength,
  }: { atMs: number; issuedAtSeconds: number; maxTokenLength: number },
  { keys, issuerUrl, targets = [], newTokenId = randomUUID }: IssueContext,
): Promise<SignedToken> {
  const tokenId = newTokenId();
  const claims: AccessTokenClaims = {
    // First, so that none of them stands for one of ours.
    ...grant.claims,
    iss: issuerUrl(),
    sub: client.clientId,
    client_id: client.clientId,
    aud: [...grant.audience],
    scp: [...grant.scopes],
    scope: grant.scopes.join(' '),
    stt: 1,
    jti: tokenId,
    iat: issuedAtSeconds,
    // Of the clock, also where iat lies ahead of it: who checks only nbf takes the token now.
    nbf: Math.floor(atMs / 1000) - NOT_BEFORE_MARGIN_SECONDS,
    exp: issuedAtSeconds + grant.lifetimeSeconds,
    gid: tokenId,
    ...(client.group === undefined ? {} : { group: client.group }),
    // RFC 8705 §3: good only with the certificate it was asked for by.
    ...(client.certificateThumbprint && { cnf: { 'x5t#S256': client.certificateThumbprint } }),
  };
  const { token, keyId } = await keys.sign({ ...targetClaims(targets, claims), ...claims });
  if (token.length > maxTokenLength) {
    const whose =
      maxTokenLength === MAX_TOKEN_LENGTH ? 'which no one accepts' : 'more than one message carries';
    throw new OAuthError(
      'invalid_scope',
      `the token would be longer than ${maxTokenLength} characters, ${whose}; ask for fewer scopes`,
    );
  }
  return { token, keyId, tokenId, issuedAtSeconds };
}

function record(
  client: AuthenticatedClient,
  { tokenId, issuedAtSeconds, keyId }: SignedToken,
  at: { readonly atMs: number; readonly caller: Caller },
  { registry }: IssueContext,
): Promise<TokenRecorded> {
  const { clientId, assertion } = client;
  const event = auditEvent({
    ...at,
    actor: clientActor(clientId),
    action: 'token.issue',
    target: clientId,
    tokenId,
  });
  return registry.recordIssuedToken(client, { issuedAtSeconds, keyId, assertion }, event);
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
