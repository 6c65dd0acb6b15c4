export type { HttpGuardOptions, VerifiedToken } from '@fleetgate/verifier';
export type { BearerHook } from './bearer-auth.ts';
export { bearerAuth } from './bearer-auth.ts';
