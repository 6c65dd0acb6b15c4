import type { KeyObject } from 'node:crypto';
import type { SigningAlgorithm } from '../token.ts';
import { isSignatureOf, type JwsAlgorithm, signatureOf } from './jws.ts';

/** A signature to make; or to check, where it has one. */
export type SignatureJob =
  | { readonly algorithm: SigningAlgorithm; readonly key: KeyObject; readonly input: string }
  | {
      readonly algorithm: JwsAlgorithm;
      readonly key: KeyObject;
      readonly input: string;
      readonly signature: string;
    };

/** The signature that was made, whether that to check is one, or why there is none. */
export type SignatureOutcome = { readonly value: string | boolean } | { readonly error: string };

export function doJob(job: SignatureJob): SignatureOutcome {
  try {
    const { algorithm, key, input } = job;
    return {
      value:
        'signature' in job
          ? isSignatureOf(algorithm, key, input, job.signature)
          : signatureOf(algorithm as SigningAlgorithm, key, input),
    };
  } catch (error) {
    // Of the key or its library; neither holds what was to be signed.
    return { error: String(error) };
  }
}
