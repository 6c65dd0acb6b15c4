import type { X509Certificate } from 'node:crypto';
import { type DerElement, derElements, oidOf } from './der.ts';
import { type DistinguishedName, nameAttribute } from './distinguished-name.ts';

/** The names a certificate has (RFC 5280 §4.1.2.6 and §4.2.1.6), as they are in it. */
export interface CertificateNames {
  readonly subject: DistinguishedName;
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  readonly email: readonly string[];
  /** 4 or 16 bytes each, in hex. */
  readonly ip: readonly string[];
}

/**
 * The names of a certificate, or `undefined` for one they cannot be read of. Read from its DER: the text OpenSSL makes
 * of them has no one meaning.
 */
export function namesOf({ raw }: X509Certificate): CertificateNames | undefined {
  try {
    const [certificate] = derElements(raw);
    const [tbs] = derElements(need(certificate).content);
    const fields = derElements(need(tbs).content);
    // The version, which may be left out, comes before the serial number.
    const subject = fields[fields[0]?.tag === VERSION ? 5 : 4];
    const extensions = fields.find(({ tag }) => tag === EXTENSIONS);
    return { subject: subjectOf(need(subject).content), ...alternativesOf(extensions) };
  } catch {
    return undefined;
  }
}

/** RFC 5280 §4.1. */
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;

/** From the most specific to the most general, as RFC 4514 §2.1 writes it. */
function subjectOf(name: Buffer): DistinguishedName {
  const relative = derElements(name).map(({ content }) =>
    derElements(content).map((attribute) => {
      const [type, value] = derElements(attribute.content);
      return nameAttribute(oidOf(need(type).content), need(value));
    }),
  );
  return relative.reverse();
}

const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';

/** GeneralName, RFC 5280 §4.2.1.6. */
const RFC822_NAME = 0x81;
const DNS_NAME = 0x82;
const URI = 0x86;
const IP_ADDRESS = 0x87;

function alternativesOf(extensions: DerElement | undefined): Omit<CertificateNames, 'subject'> {
  const names = extensions === undefined ? [] : alternativeNames(extensions);
  const texts = (wanted: number) =>
    names.filter(({ tag }) => tag === wanted).map(({ content }) => content.toString('latin1'));
  return {
    dns: texts(DNS_NAME),
    uri: texts(URI),
    email: texts(RFC822_NAME),
    ip: names.filter(({ tag }) => tag === IP_ADDRESS).map(({ content }) => content.toString('hex')),
  };
}

function alternativeNames({ content }: DerElement): readonly DerElement[] {
  const [list] = derElements(content);
  const found = derElements(need(list).content)
    .map((extension) => derElements(extension.content))
    .filter(([type]) => oidOf(need(type).content) === SUBJECT_ALTERNATIVE_NAME);
  // RFC 5280 §4.2: none comes twice.
  if (found.length > 1) throw new RangeError('an extension comes twice');
  // Behind the type there may be whether it is critical.
  const value = found[0]?.at(-1);
  return value === undefined ? [] : derElements(need(derElements(value.content)[0]).content);
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError('the certificate lacks a field');
  return value;
}
