import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  allScopes,
  anyScope,
  type HttpGuardOptions,
  type HttpRefusal,
  httpGuard,
  type RequiredScopes,
  type VerifiedToken,
} from '@fleetgate/verifier';

declare global {
  namespace Express {
    interface Request {
      /** The token of the request, behind a middleware of `bearerAuth`. */
      auth?: VerifiedToken;
    }
  }
}

/** In Node's terms, so that it is one for the types of Express 4 and 5. */
export type Middleware = (
  request: IncomingMessage & { auth?: VerifiedToken },
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** Each of them puts the token into `request.auth`, or answers as RFC 6750 §3 has it. */
export interface BearerAuth {
  /** Any token of the issuer for this audience. */
  readonly requireToken: Middleware;
  /**
   * A token with each of these scopes.
   * @throws TypeError for none
   */
  requireScopes(...scopes: readonly string[]): Middleware;
  /**
   * A token with one of these scopes.
   * @throws TypeError for none
   */
  requireAnyScope(...scopes: readonly string[]): Middleware;
}

/**
 * Middleware for Express 4 and 5. OPTIONS is guarded as all else is: a browser sends a preflight without a token, so
 * the CORS middleware comes before.
 * @example
 * const { requireScopes } = bearerAuth({ issuer: 'https://auth.example.com', audience: 'inventory' });
 * app.post('/reservations', requireScopes('stock.reserve'), (request, response) => {
 *   response.json({ reservedBy: request.auth?.clientId });
 * });
 * @throws TypeError for options that cannot be meant
 */
export function bearerAuth(options: HttpGuardOptions): BearerAuth {
  const guard = httpGuard(options);

  // Each asks the guard anew: what another middleware left in `request.auth` is not believed.
  function requiring(required?: RequiredScopes): Middleware {
    return (request, response, next) => {
      delete request.auth;
      guard.admit(request, required).then(
        ({ token, refusal }) => {
          if (refusal !== undefined) return answer(response, refusal);
          request.auth = token;
          next();
        },
        // Express 4 does not look at promises.
        (error: unknown) => next(error ?? new Error('the token could not be checked')),
      );
    };
  }

  return Object.freeze({
    requireToken: requiring(),
    requireScopes: (...scopes: readonly string[]) => requiring(allScopes(...scopes)),
    requireAnyScope: (...scopes: readonly string[]) => requiring(anyScope(...scopes)),
  });
}

function answer(response: ServerResponse, { status, headers, body }: HttpRefusal): void {
  const json = JSON.stringify(body);
  const length = Buffer.byteLength(json);
  response.writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': length });
  response.end(json);
}
