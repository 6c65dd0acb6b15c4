import type { Caller } from '../audit.ts';
import type { KeyEncryption } from '../keys/key-encryption.ts';
import type { EnrollmentRecord, EnrollmentRequestRecord } from '../registry/enrollment-registry.ts';
import type { JsonObject, Registry } from '../registry/registry.ts';
import { claimCodeHash } from './claim-code.ts';
import { invalid, refuseCredential } from './enroll-refusal.ts';
import { checkGroupProof, checkKeyProof, fingerprintOf, subjectOfCode } from './enrollment-proof.ts';
import { deviceHashOf, groupKeyLabel } from './enrollments.ts';

/** A device that has proven the key that was derived for it, by an OSCORE context. */
export interface ProvenDevice {
  readonly enrollmentId: string;
  readonly registrationId: string;
  readonly deviceKey: Uint8Array;
}

/** What a device says to get its identity. */
export interface EnrollCall {
  /** In place of all that opens an enrollment, and of the nonce; it gets a context in turn. */
  readonly proven?: ProvenDevice | undefined;
  readonly claimCode?: string | undefined;
  /** Id of an enrollment by a group key, with the proof of {@link checkGroupProof}. */
  readonly enrollmentId?: string | undefined;
  readonly groupProof?: string | undefined;
  /** What it says of itself, for the places of the template. */
  readonly device: JsonObject;
  /** Its public key, of `private_key_jwt`, with the proof of {@link checkKeyProof}. */
  readonly publicJwk?: unknown;
  readonly keyProof?: string | undefined;
  /**
   * With a claim code: 32 random bytes, base64url, that the device keeps until it is in. It is known by them when it comes
   * again, and its secret is made of them. Not needed with a key of its own.
   */
  readonly nonce?: string | undefined;
  readonly caller: Caller;
}

/** The enrollment that a device has opened. */
export interface Opened {
  readonly enrollment: EnrollmentRecord;
  /** What a proof by its key is to say. */
  readonly subject: string;
  /** Of one by a group key: who has proven to be which of its devices. */
  readonly group: Pick<ProvenDevice, 'registrationId' | 'deviceKey'> | undefined;
}

/** Who a device is, to the enrollment. */
export interface Known {
  readonly deviceHash: Uint8Array;
  /** What its secret is derived from; empty for one with a key of its own. */
  readonly secret: string;
  /** Of the key it brings. */
  readonly fingerprint: string | undefined;
}

/** Whether it brings the key that it brought before, or none as before. */
export function isSameKey({ registration }: EnrollmentRequestRecord, { fingerprint }: Known): boolean {
  const [before] = (registration.jwks as { keys?: readonly unknown[] } | undefined)?.keys ?? [];
  return (before === undefined ? undefined : fingerprintOf(before)) === fingerprint;
}

export interface DeviceIdentityOptions {
  readonly registry: Registry;
  readonly encryption: KeyEncryption;
  readonly issuerUrl: () => string;
  readonly now: () => number;
}

/**
 * Tells who a device is by what it proves. A proof is taken once.
 * @throws FleetgateError `enrollment_credential_invalid`, `registry_unavailable`; OAuthError `invalid_request`
 */
export function deviceIdentity({ registry, encryption, issuerUrl, now }: DeviceIdentityOptions) {
  /** Who lets it in, and whether it may knock there. */
  async function openedBy({ claimCode, enrollmentId, groupProof, proven }: EnrollCall): Promise<Opened> {
    if (proven !== undefined) {
      const { registrationId } = proven;
      const enrollment = await registry.findEnrollment(proven.enrollmentId);
      if (enrollment === undefined) return refuseCredential('there is no such enrollment');
      return { enrollment, subject: registrationId, group: proven };
    }
    if ((claimCode === undefined) === (enrollmentId === undefined)) {
      return invalid('give a claim_code, or an enrollment with the proof of its group key');
    }
    if (claimCode !== undefined) {
      const codeHash = claimCodeHash(claimCode);
      const enrollment = codeHash && (await registry.findEnrollmentByCode(codeHash));
      if (enrollment === undefined) return refuseCredential('no enrollment has this claim code');
      return { enrollment, subject: subjectOfCode(codeHash as Uint8Array), group: undefined };
    }
    const enrollment = await registry.findEnrollment(enrollmentId ?? '');
    const keys = enrollment?.groupKeys;
    if (enrollment === undefined || keys === undefined || groupProof === undefined) {
      return refuseCredential('no enrollment of this id has a group key, or the proof is missing');
    }
    const groupKeys = (['primary', 'secondary'] as const).map((which) =>
      Buffer.from(encryption.decrypt(keys[which], groupKeyLabel(enrollment.id, which)), 'base64'),
    );
    const { used, ...group } = checkGroupProof(groupProof, groupKeys, { issuerUrl, now });
    if (!(await registry.useAssertion(used, Math.floor(now() / 1000))))
      return refuseCredential('the proof was used before');
    return { enrollment, subject: group.registrationId, group };
  }

  /** What it is known by when it comes again: of a group its registration id, whatever else it brings. */
  async function knownBy(call: EnrollCall, { subject, group }: Opened): Promise<Known> {
    const fingerprint = call.publicJwk === undefined ? undefined : await provenKey(call, subject);
    if (group !== undefined) {
      const secret = Buffer.from(group.deviceKey).toString('base64url');
      return { deviceHash: deviceHashOf('registration', group.registrationId), secret, fingerprint };
    }
    if (fingerprint !== undefined) {
      return { deviceHash: deviceHashOf('key', fingerprint), secret: '', fingerprint };
    }
    if (call.nonce === undefined || !/^[A-Za-z0-9_-]{43}$/.test(call.nonce)) {
      return invalid('give nonce, 32 random bytes as base64url, or public_jwk with its proof');
    }
    return { deviceHash: deviceHashOf('nonce', call.nonce), secret: call.nonce, fingerprint: undefined };
  }

  async function provenKey({ publicJwk, keyProof = '' }: EnrollCall, subject: string): Promise<string> {
    const { fingerprint, used } = await checkKeyProof(keyProof, publicJwk, subject, { issuerUrl, now });
    if (await registry.useAssertion(used, Math.floor(now() / 1000))) return fingerprint;
    return refuseCredential('the proof was used before');
  }

  return { openedBy, knownBy };
}
