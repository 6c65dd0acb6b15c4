import type { IncomingHttpHeaders } from 'node:http';

/**
 * Whether a request comes from a page of this very origin: by Fetch metadata (`Sec-Fetch-Site`), which a page cannot set,
 * else by `Origin`. What changes something needs one of the two; what reads may come without, as from a command.
 */
export function isSameOrigin(method: string, headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site'];
  const isRead = method === 'GET' || method === 'HEAD';
  if (site !== undefined) return site === 'same-origin' || (isRead && site === 'none');
  const { origin, host } = headers;
  if (origin === undefined) return isRead;
  return URL.parse(origin)?.host === host;
}
