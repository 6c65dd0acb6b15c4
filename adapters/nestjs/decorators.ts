import { allScopes, anyScope, type RequiredScopes } from '@fleetgate/verifier';
import {
  type CustomDecorator,
  createParamDecorator,
  type ExecutionContext,
  SetMetadata,
} from '@nestjs/common';
import type { HttpRequest } from './fleetgate-guard.ts';

/** One key for all three, so that what stands nearest to a handler counts, and only that. */
export const REQUIREMENT = Symbol('fleetgate.requirement');

/** What a handler or a controller asks for; where nothing is said, any token. */
export type Requirement = RequiredScopes | 'public';

/**
 * A token with each of these scopes. On a handler it takes the place of what its controller says.
 * @throws TypeError for none
 */
export const Scopes = (...scopes: readonly string[]): CustomDecorator<symbol> =>
  SetMetadata<symbol, Requirement>(REQUIREMENT, allScopes(...scopes));

/**
 * A token with one of these scopes. On a handler it takes the place of what its controller says.
 * @throws TypeError for none
 */
export const AnyScope = (...scopes: readonly string[]): CustomDecorator<symbol> =>
  SetMetadata<symbol, Requirement>(REQUIREMENT, anyScope(...scopes));

/** No token is asked for, and none is looked at. */
export const Public = (): CustomDecorator<symbol> => SetMetadata<symbol, Requirement>(REQUIREMENT, 'public');

/** The token of the request as a parameter of the handler; `undefined` where it is public. */
export const Auth = createParamDecorator(
  (_: unknown, context: ExecutionContext) => context.switchToHttp().getRequest<HttpRequest>().auth,
);
