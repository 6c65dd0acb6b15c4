// IPv6, also with an IPv4 address at its end.
const ipv6Pattern = /^[0-9a-f:]{2,39}(\d*\.\d+\.\d+\.\d+)?$/i;

/**
 * What an address is counted as: an IPv4 address, also mapped into IPv6, as itself; of an IPv6 address the /64, which
 * one host usually has whole.
 */
export function addressKey(address: string): string {
  // IPv4, or no address at all.
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  const bare = address.split('%')[0] as string;
  if (!ipv6Pattern.test(bare)) return address;
  const [head = '', tail] = bare.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? 0 : tail.split(':').length;
    while (groups.length < 8 - behind) groups.push('0');
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
