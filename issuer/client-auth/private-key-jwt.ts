import { hash } from 'node:crypto';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import type { UsedAssertion } from '../registry/assertions.ts';
import { tokenEndpointPaths } from '../token-endpoint-paths.ts';
import { type Assertion, assertionLifetimeProblem, parseAssertion } from './assertion.ts';
import { isSignedByAny } from './assertion-signature.ts';
import type { ClientAuthContext, ClientAuthentication, Proof } from './client-auth.ts';

/** RFC 7523 §2.2. */
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const refused: Proof = {
  isProven: false,
  reason: new FleetgateError('assertion_refused', 'the assertion is not good'),
};

/** `client_assertion`: a JWT that the client signed with a key it is registered with (RFC 7523 §3). */
export const privateKeyJwt: ClientAuthentication = ({ clientId, clientAssertion, clientAssertionType }) => {
  if (clientAssertion === undefined && clientAssertionType === undefined) return undefined;
  const assertion =
    clientAssertionType === ASSERTION_TYPE ? parseAssertion(clientAssertion ?? '') : undefined;
  return {
    method: 'private_key_jwt',
    clientId: assertion?.subject ?? clientId ?? '',
    async prove(client, context): Promise<Proof> {
      if (assertion === undefined || !isMeantForUs(assertion, context)) return refused;
      const keys = client === undefined ? [] : await context.clientKeys.of(client, assertion.keyId);
      const isSigned = await isSignedByAny(assertion, keys);
      if (!isSigned || client === undefined) return refused;
      return { isProven: true, assertion: toUse(assertion, context) };
    },
  };
};

function isMeantForUs(assertion: Assertion, { issuerUrl, now }: ClientAuthContext): boolean {
  const { issuer, subject, audience } = assertion;
  if (issuer !== subject || !isIdentifier(subject)) return false;
  const ours = audiencesOf(issuerUrl());
  // One that is meant for another server as well could come from there.
  if (audience.length === 0 || !audience.every((one) => ours.includes(one))) return false;
  return assertionLifetimeProblem(assertion, now() / 1000) === undefined;
}

/** RFC 7523 §3: the token endpoint's URL identifies the server, as the issuer's does. */
function audiencesOf(issuerUrl: string): readonly string[] {
  return [issuerUrl, ...tokenEndpointPaths.map((path) => `${issuerUrl}${path}`)];
}

function toUse(
  { subject, tokenId, expiresAtSeconds }: Assertion,
  { issuerUrl }: ClientAuthContext,
): UsedAssertion {
  // Another issuer's client of this name is somebody else.
  const id = hash('sha256', JSON.stringify([issuerUrl(), subject, tokenId]), 'buffer');
  return { id, expiresAtSeconds: Math.ceil(expiresAtSeconds) };
}
