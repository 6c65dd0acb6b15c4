import {
  allScopes,
  anyScope,
  type HttpGuardOptions,
  httpGuard,
  type RequiredScopes,
  type VerifiedToken,
} from '@fleetgate/verifier';
import type { FastifyReply, FastifyRequest } from 'fastify';
import plugin from 'fastify-plugin';

/** For `onRequest`, of a route or of all. Puts the token into `request.auth`, or answers as RFC 6750 §3 has it. */
export type BearerHook = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>;

declare module 'fastify' {
  interface FastifyRequest {
    /** The token of the request, behind a hook of `bearerAuth`; `null` elsewhere. */
    auth: VerifiedToken | null;
  }

  interface FastifyInstance {
    /** Any token of the issuer for this audience. */
    readonly requireToken: BearerHook;
    /**
     * A token with each of these scopes.
     * @throws TypeError for none
     */
    requireScopes(...scopes: readonly string[]): BearerHook;
    /**
     * A token with one of these scopes.
     * @throws TypeError for none
     */
    requireAnyScope(...scopes: readonly string[]): BearerHook;
  }
}

/**
 * Plugin for Fastify 5 that decorates the instance with `requireToken`, `requireScopes` and `requireAnyScope`. OPTIONS
 * is guarded as all else is: a browser sends a preflight without a token, so `@fastify/cors` is registered before.
 * @example
 * await app.register(bearerAuth, { issuer: 'https://auth.example.com', audience: 'event' });
 * app.post('/events', { onRequest: app.requireScopes('event.create') }, async (request) => {
 *   return { createdBy: request.auth?.clientId };
 * });
 * @throws TypeError for options that cannot be meant
 */
export const bearerAuth = plugin<HttpGuardOptions>(
  async (app, options) => {
    const guard = httpGuard(options);

    function requiring(required?: RequiredScopes): BearerHook {
      return async (request, reply) => {
        request.auth = null;
        const { token, refusal } = await guard.admit(request.raw, required);
        if (refusal !== undefined)
          return reply.code(refusal.status).headers(refusal.headers).send(refusal.body);
        request.auth = token;
        return undefined;
      };
    }

    app.decorateRequest('auth', null);
    app.decorate('requireToken', requiring());
    app.decorate('requireScopes', (...scopes: readonly string[]) => requiring(allScopes(...scopes)));
    app.decorate('requireAnyScope', (...scopes: readonly string[]) => requiring(anyScope(...scopes)));
  },
  { name: '@fleetgate/fastify', fastify: '5.x' },
);
