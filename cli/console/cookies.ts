import type { FastifyReply, FastifyRequest } from 'fastify';
import { MAX_AGE_MS } from './sign-ins.ts';

/** RFC 6265bis: of this host alone, for all paths, never without TLS; browsers take loopback for secure. */
const SESSION = '__Host-fleetgate';

/** The cookie of a sign-in; '' takes it away. Never sent with a request that another site began. */
export function setSessionCookie(reply: FastifyReply, value: string): void {
  setCookie(reply, `${SESSION}=${value}`, value === '' ? 0 : MAX_AGE_MS / 1000, 'Strict');
}

export function sessionCookieOf(request: FastifyRequest): string | undefined {
  return cookieOf(request, SESSION);
}

/** @param sameSite `Lax` for what has to come along when another site sends the browser back */
export function setCookie(
  reply: FastifyReply,
  pair: string,
  maxAgeSeconds: number,
  sameSite: 'Strict' | 'Lax',
): void {
  reply.header(
    'set-cookie',
    `${pair}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; Secure; SameSite=${sameSite}`,
  );
}

export function cookieOf({ headers }: FastifyRequest, wanted: string): string | undefined {
  for (const part of (headers.cookie ?? '').split(';')) {
    const [name, value] = part.trim().split('=');
    if (name === wanted) return value;
  }
  return undefined;
}
