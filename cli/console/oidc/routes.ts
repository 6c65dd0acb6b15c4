import type { Caller, Role } from '@fleetgate/issuer';
import { FleetgateError } from '@fleetgate/shared';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { cookieOf, sessionCookieOf, setCookie, setSessionCookie } from '../cookies.ts';
import type { SignIn, SignIns } from '../sign-ins.ts';
import { ATTEMPT_MS, type Attempt, createAttempts } from './attempts.ts';
import { CLOCK_TOLERANCE_SECONDS, createProvider, type IdentityClaims } from './provider.ts';
import { roleOf } from './role-of.ts';

/** Binds a sign-in to the browser it began in. Lax: it has to come along when the provider sends the browser back. */
const COOKIE = '__Host-fleetgate-oidc';

/** Sign-in with OpenID Connect, as `console.oidc` has it. */
export interface OidcOptions {
  /** Where the console is for browsers, with a slash at its end. */
  readonly consoleUrl: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
  readonly roleClaim: string;
  readonly roles: Readonly<Record<string, Role>>;
}

export interface OidcRoutesOptions extends OidcOptions {
  readonly signIns: SignIns;
  /** Puts somebody who is known and has no role into the audit trail. */
  readonly recordRefused: (caller: Caller, name: string, code: 'role_insufficient') => Promise<void>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly now?: () => number;
}

/** What the page is told; it has the words. */
type Outcome =
  | 'stepped_up'
  | 'oidc_unavailable'
  | 'oidc_refused'
  | 'oidc_role_unmapped'
  | 'oidc_attempt_unknown';

/** RFC 6749 §4.1 with PKCE: to the provider, for a sign-in or for who signs in anew, and the way back. */
export function oidcRoutes(options: OidcRoutesOptions): FastifyPluginAsync {
  const { consoleUrl, signIns, roleClaim, roles, recordRefused, log, now = Date.now } = options;
  const provider = createProvider({ ...options, redirectUri: `${consoleUrl}oidc/callback` }, now);
  const attempts = createAttempts(now);

  /** Back to the page, and nowhere else, whatever a request holds. */
  const toPage = (reply: FastifyReply, outcome?: Outcome) =>
    reply.redirect(outcome === undefined ? consoleUrl : `${consoleUrl}#/oidc/${outcome}`, 303);

  function refused(reply: FastifyReply, error: unknown): FastifyReply {
    const { code, message } =
      error instanceof FleetgateError ? error : { code: 'oidc_refused', message: 'unexpected' };
    log.warn(
      { event: 'console_sign_in_refused', reason: code, problem: message },
      'a sign-in to the console was refused',
    );
    return toPage(reply, code as Outcome);
  }

  async function toProvider(reply: FastifyReply, signIn: SignIn | undefined): Promise<FastifyReply> {
    try {
      const { url, secrets } = await provider.begin(signIn !== undefined);
      const cookie = attempts.begin({ ...secrets, signIn });
      setCookie(reply, `${COOKIE}=${cookie}`, ATTEMPT_MS / 1000, 'Lax');
      return reply.redirect(url, 303);
    } catch (error) {
      return refused(reply, error);
    }
  }

  /** Who they are and what they may do now. @throws FleetgateError `oidc_role_unmapped`, `oidc_refused` */
  async function personOf(request: FastifyRequest, claims: IdentityClaims): Promise<Person> {
    const keyName = nameOf(claims);
    const role = roleOf(claims, roleClaim, roles);
    signIns.endAllOfPerson(keyName, role);
    if (role !== undefined) return { keyName, role, title: titleOf(claims) };
    await recordRefused({ address: request.ip, requestId: request.id }, keyName, 'role_insufficient');
    throw new FleetgateError('oidc_role_unmapped', `${keyName} has no role that console.oidc.roles names`);
  }

  return async (app) => {
    app.get('/start', async (request, reply) =>
      isFromElsewhere(request) ? toPage(reply) : toProvider(reply, undefined),
    );
    app.get('/step-up', async (request, reply) => {
      const signIn = isFromElsewhere(request) ? undefined : signIns.find(sessionCookieOf(request));
      return signIn?.way === 'oidc' ? toProvider(reply, signIn) : toPage(reply);
    });
    app.get('/callback', async (request, reply) => {
      const attempt = attempts.take(cookieOf(request, COOKIE));
      setCookie(reply, `${COOKIE}=`, 0, 'Lax');
      try {
        if (attempt === undefined)
          throw new FleetgateError('oidc_attempt_unknown', 'no attempt of this browser');
        const claims = await provider.finish(new URL(request.url, 'http://x').search, attempt);
        const person = await personOf(request, claims);
        if (attempt.signIn !== undefined) {
          checkAnew(attempt, attempt.signIn, person, claims);
          if (!signIns.stepUpPerson(attempt.signIn)) {
            throw new FleetgateError('oidc_refused', 'the sign-in has ended meanwhile');
          }
          return toPage(reply, 'stepped_up');
        }
        setSessionCookie(reply, signIns.beginPerson(person));
        log.info(
          { event: 'console_signed_in', by: person.keyName, role: person.role },
          'signed in to the console',
        );
        return toPage(reply);
      } catch (error) {
        return refused(reply, error);
      }
    });
  };
}

type Person = Pick<SignIn, 'keyName' | 'role' | 'title'>;

/** That it is the same person, with the same role, who proved it since they were asked to (OpenID Connect Core §3.1.2.1). */
function checkAnew(
  { startedAtMs }: Attempt,
  signIn: SignIn,
  person: Person,
  { auth_time: authTime }: IdentityClaims,
): void {
  if (person.keyName !== signIn.keyName || person.role !== signIn.role) {
    throw new FleetgateError('oidc_refused', 'somebody else has signed in, or with another role');
  }
  const since = startedAtMs / 1000 - CLOCK_TOLERANCE_SECONDS;
  if (typeof authTime !== 'number' || authTime < Math.floor(since)) {
    throw new FleetgateError('oidc_refused', 'auth_time does not say that they proved it anew');
  }
}

/** OpenID Connect Core §2: at most 255 characters of ASCII. Without blanks it is one word of a log and of the audit trail. */
function nameOf({ sub }: IdentityClaims): string {
  if (/^[\x21-\x7e]{1,255}$/.test(sub)) return `oidc:${sub}`;
  throw new FleetgateError('oidc_refused', 'sub is not 1 to 255 visible ASCII characters');
}

/** For people alone: anybody may call themselves anything there. */
function titleOf(claims: IdentityClaims): string | undefined {
  const names = [claims['preferred_username'], claims['email'], claims['name']];
  return names.find((name): name is string => typeof name === 'string' && /^[^\p{C}]{1,128}$/u.test(name));
}

/** Another site, which must not begin what the person did not. */
function isFromElsewhere({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  return site !== undefined && site !== 'same-origin' && site !== 'none';
}
