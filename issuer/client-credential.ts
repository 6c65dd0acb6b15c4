import { OAuthError } from '@fleetgate/shared';
import { usesSecret } from './client-auth/methods.ts';
import type { ContextVault, OscoreMaterial, StoredContext } from './oscore-context.ts';
import { generateSecret, hashSecret } from './secrets.ts';

/** What a machine is to prove itself by, as it was made: shown once, to whoever gives it to the machine. */
export interface ShownCredential {
  readonly clientSecret?: string | undefined;
  /** With OSCORE. */
  readonly oscore?: OscoreMaterial | undefined;
}

/** What a client is given, and what is kept of it. */
export interface MadeCredential {
  readonly shown: ShownCredential;
  readonly kept: { readonly hash: Uint8Array; readonly context?: StoredContext };
}

export type RandomBytes = (size: number) => Buffer;

/**
 * Makes what a client of this method proves itself by; unset for one that brings its own.
 * @param options.chosen a secret that was made elsewhere
 * @param options.random what it is made of. Default: the operating system's
 * @throws OAuthError `invalid_request`; FleetgateError `not_supported` where no context can be used
 */
export function makeCredential(
  authMethod: string,
  contexts: ContextVault,
  {
    chosen,
    random,
  }: { readonly chosen?: string | undefined; readonly random?: RandomBytes | undefined } = {},
): MadeCredential | undefined {
  if (!usesSecret(authMethod) || (authMethod === 'oscore' && chosen !== undefined)) {
    if (chosen === undefined) return undefined;
    throw new OAuthError('invalid_request', `auth_method ${authMethod} has no secret to choose`);
  }
  if (authMethod === 'oscore') {
    const { material, stored, hash } = contexts.make(random);
    return { shown: { oscore: material }, kept: { hash, context: stored } };
  }
  const clientSecret = chosen ?? generateSecret(random);
  return { shown: { clientSecret }, kept: { hash: hashSecret(clientSecret) } };
}
