import { isIP } from 'node:net';
import type { CertificateNames } from './certificate-names.ts';
import { isSameName, parseDistinguishedName } from './distinguished-name.ts';
import type { ClientAuthParameters } from './parameters.ts';

/** Which name of its certificate a client is registered with (RFC 8705 §2.1.2): `tls_client_auth_` and this. */
const kinds = {
  subject_dn: 'tlsClientAuthSubjectDn',
  san_dns: 'tlsClientAuthSanDns',
  san_uri: 'tlsClientAuthSanUri',
  san_ip: 'tlsClientAuthSanIp',
  san_email: 'tlsClientAuthSanEmail',
} as const satisfies Record<string, keyof ClientAuthParameters>;
export type CertificateNameKind = keyof typeof kinds;
export const certificateNameKinds = Object.keys(kinds) as readonly CertificateNameKind[];
/** The field of a registration that holds such a name. */
export const certificateNameField = (kind: CertificateNameKind) => kinds[kind];

export interface RegisteredName {
  readonly kind: CertificateNameKind;
  readonly value: string;
}

/** Characters of a name. RFC 1035 has 255 for DNS; a subject may be long. */
const MAX_NAME_LENGTH = 1024;

/** The names of a registration, which should be one at most. */
export function registeredNames(parameters: Omit<ClientAuthParameters, 'jwks'>): readonly RegisteredName[] {
  return certificateNameKinds.flatMap((kind) => {
    const value = parameters[kinds[kind]];
    return value === undefined ? [] : [{ kind, value }];
  });
}

/** What is wrong with a name that is to be registered, or `undefined`. */
export function registeredNameProblem({ kind, value }: RegisteredName): string | undefined {
  if (value === '' || value.length > MAX_NAME_LENGTH) return `must have 1 to ${MAX_NAME_LENGTH} characters`;
  return isWellFormed[kind](value) ? undefined : expected[kind];
}

/** Whether a certificate has the registered name. Of several alternative names any one will do. */
export function hasName(names: CertificateNames, { kind, value }: RegisteredName): boolean {
  switch (kind) {
    case 'subject_dn':
      return isSameName(parseDistinguishedName(value) ?? [], names.subject);
    case 'san_dns':
      return names.dns.some((one) => asciiLower(one) === asciiLower(value));
    case 'san_uri':
      return names.uri.includes(value);
    case 'san_ip':
      return names.ip.includes(ipHexOf(value) ?? '');
    case 'san_email':
      return names.email.some((one) => withLowerDomain(one) === withLowerDomain(value));
  }
}

// Of a wildcard nobody could say which machine it is.
const dnsPattern = /^(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*$/;
const emailPattern = /^[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9.-]+$/;

const isWellFormed: Record<CertificateNameKind, (value: string) => boolean> = {
  subject_dn: (value) => parseDistinguishedName(value) !== undefined,
  san_dns: (value) => dnsPattern.test(value),
  san_uri: (value) => URL.canParse(value) && /^[\x21-\x7e]+$/.test(value),
  san_ip: (value) => ipHexOf(value) !== undefined,
  san_email: (value) => emailPattern.test(value),
};

const expected: Record<CertificateNameKind, string> = {
  subject_dn: 'must be a distinguished name as in RFC 4514, such as CN=press-7,O=Example',
  san_dns: 'must be a DNS name without wildcards',
  san_uri: 'must be a URI in ASCII, such as urn:uuid:… or spiffe://…',
  san_ip: 'must be an IP address',
  san_email: 'must be a mail address in ASCII',
};

/** The bytes of an address in hex. */
function ipHexOf(address: string): string | undefined {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number)).toString('hex');
  // A zone is of one machine and in no certificate.
  if (isIP(address) !== 6 || address.includes('%')) return undefined;
  // URL writes the last four bytes in hex too, and leaves only the run of zeros to be filled in.
  const groups = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const [head = [], tail = []] = groups.map((part) => part.split(':').filter((group) => group !== ''));
  const zeros = Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join('');
}

const asciiLower = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** RFC 5280 §7.5: the domain in any case, the part before it as it is. */
function withLowerDomain(email: string): string {
  const at = email.lastIndexOf('@');
  return email.slice(0, at) + asciiLower(email.slice(at));
}
