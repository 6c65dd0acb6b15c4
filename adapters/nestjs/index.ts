export type { HttpGuardOptions, VerifiedToken } from '@fleetgate/verifier';
export { AnyScope, Auth, Public, Scopes } from './decorators.ts';
export { FleetgateGuard } from './fleetgate-guard.ts';
export type { AsyncOptions } from './fleetgate-module.ts';
export { FleetgateModule } from './fleetgate-module.ts';
