import type { IncomingMessage } from 'node:http';
import type { HttpGuard, VerifiedToken } from '@fleetgate/verifier';
import { type CanActivate, type ExecutionContext, HttpException } from '@nestjs/common';
import type { HttpAdapterHost, Reflector } from '@nestjs/core';
import { REQUIREMENT, type Requirement } from './decorators.ts';

/** A request of Express, which is Node's, or of Fastify, which has Node's in `raw`. */
export type HttpRequest = (IncomingMessage | { readonly raw: IncomingMessage }) & {
  auth?: VerifiedToken | undefined;
};

/**
 * Puts the token of a request into `request.auth`, or answers as RFC 6750 §3 has it. What comes by another way than
 * HTTP is refused.
 */
export class FleetgateGuard implements CanActivate {
  readonly #guard: HttpGuard;
  readonly #reflector: Reflector;
  readonly #host: HttpAdapterHost;

  constructor(guard: HttpGuard, reflector: Reflector, host: HttpAdapterHost) {
    this.#guard = guard;
    this.#reflector = reflector;
    this.#host = host;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return false;
    const request = context.switchToHttp().getRequest<HttpRequest>();
    request.auth = undefined;
    const requirement = this.#reflector.getAllAndOverride<Requirement | undefined>(REQUIREMENT, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (requirement === 'public') return true;
    const { token, refusal } = await this.#guard.admit('raw' in request ? request.raw : request, requirement);
    if (refusal === undefined) {
      request.auth = token;
      return true;
    }
    const response: unknown = context.switchToHttp().getResponse();
    for (const [name, value] of Object.entries(refusal.headers)) {
      this.#host.httpAdapter.setHeader(response, name, value);
    }
    throw new HttpException(refusal.body, refusal.status);
  }
}
