import type { IncomingMessage } from 'node:http';

/** What of a request says who sends it. */
export interface HttpCredentials {
  /** Values of `Authorization`, each as it came: two are refused. */
  readonly authorization?: string | readonly string[] | undefined;
  /** The target, whose query must hold no token. */
  readonly url?: string | undefined;
  /** SHA-256 of the TLS client certificate in DER, base64url (RFC 8705 §3.1). */
  readonly certificateThumbprint?: string | undefined;
}

/** A token that was found, or why none is looked at further. */
export type FoundToken =
  | { readonly found: 'token'; readonly token: string }
  | { readonly found: 'nothing' }
  | { readonly found: 'fault'; readonly problem: string };

// RFC 9110 §11.1: the scheme in any case. RFC 6750 §2.1: 1*SP, then b64token.
const schemePattern = /^bearer(?=\s|$)/i;
const bearerPattern = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** Looks for a token in `Authorization` (RFC 6750 §2.1), the one place it may be in. */
export function findToken({ authorization, url = '' }: HttpCredentials): FoundToken {
  const values = typeof authorization === 'string' ? [authorization] : (authorization ?? []);
  if (hasTokenInQuery(url)) {
    return fault(
      'a token in the query ends up in logs and is not taken; send it as Authorization: Bearer TOKEN',
    );
  }
  if (values.length > 1) return fault('there is more than one Authorization header; send one');
  const [value = ''] = values;
  if (!schemePattern.test(value)) return { found: 'nothing' };
  const [, token] = bearerPattern.exec(value) ?? [];
  if (token === undefined) return fault('Authorization is malformed; it reads Bearer, a space, the token');
  return { found: 'token', token };
}

/** As `raw` has them: Node keeps the first of two in `headers`, and a proxy may look at the last. */
export function authorizationOf({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>): readonly string[] {
  const values: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === 'authorization') values.push(rawHeaders[index + 1] ?? '');
  }
  return values;
}

/** RFC 6750 §2.3 has it there; RFC 9700 §4.3.2 forbids it. */
function hasTokenInQuery(url: string): boolean {
  const start = url.indexOf('?');
  return start !== -1 && new URLSearchParams(url.slice(start + 1)).has('access_token');
}

function fault(problem: string): FoundToken {
  return { found: 'fault', problem };
}
