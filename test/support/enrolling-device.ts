import {
  createHash,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  randomUUID,
  sign,
} from 'node:crypto';

/** A device at the door of an issuer, written by the documents and not by our agent. */
export interface EnrollingDevice {
  readonly publicJwk: Record<string, unknown>;
  readonly privateKey: KeyObject;
  readonly nonce: string;
}

export function enrollingDevice(): EnrollingDevice {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicJwk: publicKey.export({ format: 'jwk' }) as Record<string, unknown>,
    privateKey,
    nonce: randomBytes(32).toString('base64url'),
  };
}

export interface EnrollAnswer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: {
    status?: string;
    error?: string;
    error_description?: string;
    client_id?: string;
    credentials?: { client_id: string; issuer: string; audience?: string; auth: Record<string, string> };
  };
}

export async function enroll(issuer: string, body: Record<string, unknown>): Promise<EnrollAnswer> {
  const answer = await fetch(`${issuer}/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return {
    status: answer.status,
    retryAfter: answer.headers.get('retry-after'),
    body: (await answer.json()) as EnrollAnswer['body'],
  };
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

export interface ProofClaims {
  readonly aud?: unknown;
  readonly exp?: number;
  readonly jti?: string;
  readonly iss?: string;
  readonly [claim: string]: unknown;
}

function claimsOf(issuer: string, subject: string, more: ProofClaims): Record<string, unknown> {
  const nowSeconds = Math.floor(Date.now() / 1000);
  return {
    iss: subject,
    sub: subject,
    aud: issuer,
    iat: nowSeconds,
    exp: nowSeconds + 60,
    jti: randomUUID(),
    ...more,
  };
}

/** What a device with a key of its own adds to a claim code. */
export function keyProof(
  { privateKey }: EnrollingDevice,
  issuer: string,
  claimCode: string,
  more: ProofClaims = {},
): string {
  const subject = createHash('sha256').update(claimCode.replaceAll('-', '')).digest('base64url');
  return keyProofFor(privateKey, issuer, subject, more);
}

export function keyProofFor(
  privateKey: KeyObject,
  issuer: string,
  subject: string,
  more: ProofClaims = {},
): string {
  const input = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claimsOf(issuer, subject, more))}`;
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** The key that a device of a group is given: base64 of HMAC-SHA256 of its registration id. */
export function derivedKey(groupKey: string, registrationId: string): string {
  return createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64');
}

/** What a device with a key derived for it says. */
export function groupProof(
  deviceKey: string,
  registrationId: string,
  issuer: string,
  more: ProofClaims = {},
  header: Record<string, unknown> = { alg: 'HS256', typ: 'JWT' },
): string {
  const input = `${part(header)}.${part(claimsOf(issuer, registrationId, more))}`;
  const mac = createHmac('sha256', Buffer.from(deviceKey, 'base64')).update(input).digest('base64url');
  return `${input}.${mac}`;
}
