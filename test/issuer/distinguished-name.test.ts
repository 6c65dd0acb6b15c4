import { describe, expect, test } from 'vitest';
import { isSameName, parseDistinguishedName } from '../../issuer/client-auth/distinguished-name.ts';

const same = (a: string, b: string) =>
  isSameName(parseDistinguishedName(a) ?? [], parseDistinguishedName(b) ?? []);

describe('two texts of one name', () => {
  test.each<[string, string, string]>([
    ['types in any case, or as numbers', 'cn=a,O=b', '2.5.4.3=a,oid.2.5.4.10=b'],
    ['spaces around separators', 'CN=a,O=b', ' CN = a , O= b '],
    ['a character escaped or in hex', 'CN=a\\,b', 'CN=a\\2cb'],
    ['an escaped space at an end', 'CN=\\ a\\ ', 'CN=\\20a\\20'],
    ['UTF-8 in hex', 'CN=Lu\\C4\\8Di\\C4\\87', 'CN=Lučić'],
    ['a value in DER', 'CN=#0c0161', 'CN=a'],
    ['attributes of one part in any order', 'OU=a+CN=b,O=c', 'CN=b+OU=a,O=c'],
    ['an equals sign, escaped or not', 'CN=a\\=b', 'CN=a=b'],
    ['a sharp, escaped', 'CN=\\#a', 'CN=\\23a'],
    // RFC 4514 §4
    [
      'the example with a multi-valued part',
      'OU=Sales+CN=J.  Smith,DC=example,DC=net',
      'ou=Sales+cn=J.  Smith,dc=example,dc=net',
    ],
    ['the example with a carriage return', 'CN=Before\\0dAfter,DC=example', 'CN=Before\\0DAfter,DC=example'],
  ])('%s', (_rule, a, b) => {
    expect(same(a, b)).toBe(true);
  });
});

describe('two names', () => {
  test.each<[string, string, string]>([
    ['in another order', 'CN=a,O=b', 'O=b,CN=a'],
    ['in another case', 'CN=a', 'CN=A'],
    ['with another space inside', 'CN=a b', 'CN=a  b'],
    ['with a part repeated', 'OU=a,O=b', 'OU=a,OU=a,O=b'],
    ['where a separator is escaped', 'CN=a,O=b', 'CN=a\\,O\\=b'],
    ['of parts and of attributes', 'CN=a,O=b', 'CN=a+O=b'],
    ['of another composition of one letter', 'CN=\u00e9', 'CN=e\u0301'],
    ['of text and of bytes that look like it', 'CN=#0461', 'CN=a'],
  ])('%s', (_rule, a, b) => {
    expect(same(a, b)).toBe(false);
  });

  test('that are both none are not the same', () => {
    expect(same('', '')).toBe(false);
    expect(same('nonsense', 'nonsense')).toBe(false);
  });
});
