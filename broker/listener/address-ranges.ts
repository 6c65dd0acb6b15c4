import { BlockList, isIP, isIPv6 } from 'node:net';

/** A set of addresses. */
export interface AddressRanges {
  includes(address: string | undefined): boolean;
}

/**
 * What is wrong with `range` as an address or a network in CIDR notation, with its mend; `undefined` when nothing is.
 */
export function addressRangeProblem(range: string): string | undefined {
  const { address, prefix } = split(range);
  const version = isIP(address);
  if (version === 0 || address.includes('%')) {
    return `'${range}' is no IP address and no network; write 192.0.2.7, 10.0.0.0/8 or fd00::/8`;
  }
  const maxPrefix = version === 4 ? 32 : 128;
  if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= maxPrefix)) {
    return `'${range}': the prefix length is a number from 0 to ${maxPrefix}`;
  }
  return undefined;
}

/** @throws TypeError for what {@link addressRangeProblem} finds */
export function parseAddressRanges(ranges: readonly string[]): AddressRanges {
  const list = new BlockList();
  for (const range of ranges) {
    const problem = addressRangeProblem(range);
    if (problem !== undefined) throw new TypeError(problem);
    const { address, prefix } = split(range);
    if (prefix === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(prefix), familyOf(address));
  }
  return {
    // An IPv4 address that comes mapped into IPv6 is found as IPv4.
    includes: (address) => address !== undefined && list.check(address, familyOf(address)),
  };
}

function split(range: string): { address: string; prefix: string | undefined } {
  const slash = range.indexOf('/');
  return slash === -1
    ? { address: range, prefix: undefined }
    : { address: range.slice(0, slash), prefix: range.slice(slash + 1) };
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
