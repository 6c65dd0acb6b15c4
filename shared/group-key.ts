/** Bytes of the key of a group, and of that of each device, which is an HMAC-SHA256. */
const KEY_BYTES = 32;

const keyPattern = /^[A-Za-z0-9+/]{43}=$/;

/** What is wrong with the text of a group or device key, in words that never hold it; `undefined`: it is 32 bytes in base64. */
export function groupKeyProblem(text: string): string | undefined {
  if (keyPattern.test(text)) return undefined;
  if (text.startsWith('{')) {
    return "it is the answer of 'enrollment create', and not a key; take one out of it: jq -r .primary_key FILE";
  }
  return `it is no key: base64 of ${KEY_BYTES} bytes, 44 characters, is wanted`;
}
