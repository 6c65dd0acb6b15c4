/**
 * Whether `address` is a URL that nobody on the way can read or answer for: https, or http on a loopback host. One
 * that carries a user or password is not.
 */
export function isSecureAddress(address: string): boolean {
  const url = URL.parse(address);
  if (url === null || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname));
}

/** Whether `hostname`, as URL parsing leaves it, is this very machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Why a request to `url` would not check who answers it, with the mend; unset where it would. To be asked before each
 * `fetch`, which has no option of its own for it.
 */
export function uncheckedTls(url: string): string | undefined {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0' || !url.startsWith('https:')) return undefined;
  return (
    'NODE_TLS_REJECT_UNAUTHORIZED=0 would accept any certificate; unset it, and name the file of your own ' +
    'authority in NODE_EXTRA_CA_CERTS'
  );
}
