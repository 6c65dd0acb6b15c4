import {
  createHash,
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  type JsonWebKey,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import {
  type Credentials,
  checkCredentials,
  FleetgateError,
  isSecureAddress,
  type Jwk,
  OAuthError,
  type OAuthErrorCode,
  publicMembersOf,
  signatureOf,
} from '@fleetgate/shared';
import { EnrollmentRefusedError } from './enrollment-refused.ts';
import type { SequenceNumbers } from './sequence-numbers.ts';
import { enrollOverCoap } from './transport/coap-enroll.ts';
import { exchange } from './transport/exchange.ts';
import { pendingAnswer } from './transport/pending-answer.ts';
import { isJson, parseObject, printable } from './transport/token-response.ts';

/** What lets a device in. */
export type EnrollmentKey = { readonly claimCode: string } | GroupEnrollmentKey;

export interface GroupEnrollmentKey {
  readonly enrollmentId: string;
  readonly registrationId: string;
  /** base64 of HMAC-SHA256 of the registration id, under the group key. */
  readonly deviceKey: string;
}

/** What the device is known by when it asks again; kept until it is in. */
export type DeviceSeed = { readonly nonce: string } | { readonly private_jwk: Jwk };

export interface EnrollmentQuestion {
  /** Its URL, https unless its host is loopback; or `coap://…`, for a device of a group that gets an OSCORE context. */
  readonly issuer: string;
  readonly key: EnrollmentKey;
  readonly seed: DeviceSeed;
  /** What the device says of itself, for the places of the template. */
  readonly device: Readonly<Record<string, string>>;
  /** Over CoAP: where the sequence numbers are kept that were used with the device's key. */
  readonly sequenceNumbers?: SequenceNumbers | undefined;
}

export type EnrollmentAnswer =
  | { readonly status: 'enrolled'; readonly credentials: Credentials }
  /** It waits for approval, and asks again then. */
  | { readonly status: 'pending'; readonly clientId: string; readonly retryAfterSeconds: number };

const TIMEOUT_MS = 10_000;
const PROOF_LIFETIME_SECONDS = 60;

/** 32 random bytes, of which the secret will be made, or a key pair of the device's own. */
export function makeSeed(isOwnKey: boolean): DeviceSeed {
  if (!isOwnKey) return { nonce: randomBytes(32).toString('base64url') };
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { crv, kty, x, y, d } = privateKey.export({ format: 'jwk' });
  // RFC 7638.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  return { private_jwk: { kty, crv, x, y, d, kid, alg: 'ES256' } as Jwk };
}

/** The key of a device from that of its group; for who holds that. @param groupKey base64 */
export function deriveDeviceKey(groupKey: string, registrationId: string): string {
  return createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64');
}

/**
 * Asks the issuer once for the identity of this device.
 * @throws EnrollmentRefusedError; FleetgateError `token_request_failed` and OAuthError `slow_down`,
 *   `temporarily_unavailable`, after which it may be asked again; `token_response_invalid`, `credentials_invalid`
 */
export async function askToEnroll(
  question: EnrollmentQuestion,
  signal?: AbortSignal,
): Promise<EnrollmentAnswer> {
  const { issuer, seed } = question;
  if (issuer.startsWith('coap:')) return askOverCoap(question, signal);
  if (!isSecureAddress(issuer)) {
    throw new FleetgateError(
      'credentials_invalid',
      'the issuer must begin with https:// unless its host is loopback',
    );
  }
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await exchange({
    url: `${issuer.replace(/\/+$/, '')}/enroll`,
    json: bodyOf(question),
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  });
  const body = isJson(answer.contentType) ? parseObject(answer.body) : undefined;
  if (body === undefined) return invalid(`the issuer answered ${answer.status} and no JSON`);
  if (answer.status === 202) {
    return pendingAnswer(body['client_id'], body['retry_after_seconds']);
  }
  if (answer.status !== 201) return refused(answer.status, body);
  return { status: 'enrolled', credentials: withKey(body['credentials'], seed) };
}

/** Retransmissions and challenges included. */
const COAP_TIMEOUT_MS = 120_000;

function askOverCoap(question: EnrollmentQuestion, signal?: AbortSignal): Promise<EnrollmentAnswer> {
  const { issuer, key, device, sequenceNumbers } = question;
  if ('claimCode' in key) {
    throw new FleetgateError(
      'credentials_invalid',
      'a claim code goes over https alone; over CoAP take a group key',
    );
  }
  if (sequenceNumbers === undefined) {
    throw new FleetgateError('credentials_invalid', 'over CoAP there must be a place for sequence numbers');
  }
  const timeout = AbortSignal.timeout(COAP_TIMEOUT_MS);
  const within = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  return enrollOverCoap({ issuer, key, device, sequenceNumbers, signal: within });
}

function bodyOf({ issuer, key, seed, device }: EnrollmentQuestion): object {
  const isByCode = 'claimCode' in key;
  const opening = isByCode
    ? { claim_code: key.claimCode }
    : {
        enrollment: key.enrollmentId,
        proof: proof(issuer, key.registrationId, 'HS256', (input) =>
          createHmac('sha256', Buffer.from(key.deviceKey, 'base64')).update(input).digest('base64url'),
        ),
      };
  if ('nonce' in seed) return { ...opening, device, nonce: seed.nonce };
  const privateKey = createPrivateKey({ key: seed.private_jwk as JsonWebKey, format: 'jwk' });
  const subject = isByCode ? codeSubject(key.claimCode) : key.registrationId;
  const key_proof = proof(issuer, subject, 'ES256', (input) => signatureOf('ES256', privateKey, input));
  const { kid, alg } = seed.private_jwk;
  // By this name it signs for its tokens.
  return { ...opening, device, public_jwk: { ...publicMembersOf(seed.private_jwk), kid, alg }, key_proof };
}

/** A claim code as the issuer hashes it: its letters alone, each in the one way it is written. */
function codeSubject(claimCode: string): string {
  const letters = claimCode.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  return createHash('sha256').update(letters).digest('base64url');
}

function proof(issuer: string, subject: string, algorithm: string, sign: (input: string) => string): string {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const claims = {
    iss: subject,
    sub: subject,
    aud: issuer.replace(/\/+$/, ''),
    jti: randomUUID(),
    iat: nowSeconds,
    exp: nowSeconds + PROOF_LIFETIME_SECONDS,
  };
  const input = `${encode({ alg: algorithm, typ: 'JWT' })}.${encode(claims)}`;
  return `${input}.${sign(input)}`;
}

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** The credentials, with what the device alone has. */
function withKey(credentials: unknown, seed: DeviceSeed): Credentials {
  if (typeof credentials !== 'object' || credentials === null)
    return invalid('the answer holds no credentials');
  const { auth } = credentials as { auth?: object };
  return checkCredentials(
    'private_jwk' in seed
      ? { ...credentials, auth: { ...auth, private_jwk: seed.private_jwk } }
      : credentials,
  );
}

/** Codes after which the same may be asked again. */
const passingCodes: readonly string[] = ['slow_down', 'temporarily_unavailable', 'server_error'];

function refused(status: number, body: Record<string, unknown>): never {
  const [error, description] = ['error', 'error_description'].map((name) => printable(body[name]));
  const code = error || 'server_error';
  const words = description || `the issuer answered ${status}`;
  if (status >= 500 || passingCodes.includes(code)) {
    throw new OAuthError(passingCodes.includes(code) ? (code as OAuthErrorCode) : 'server_error', words);
  }
  throw new EnrollmentRefusedError('enrollment_refused', `${words} (${code.slice(0, 64)})`);
}

function invalid(message: string): never {
  throw new FleetgateError('token_response_invalid', message);
}
