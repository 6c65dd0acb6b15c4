export type { HttpGuardOptions, VerifiedToken } from '@fleetgate/verifier';
export type { BearerAuth, Middleware } from './bearer-auth.ts';
export { bearerAuth } from './bearer-auth.ts';
