import type { ClientAuthentication } from './client-auth.ts';
import { proveBySecret } from './client-secret.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });
const basicPattern = /^basic(?: +(.*))?$/i;
const base64Pattern = /^[A-Za-z0-9+/]*={0,2}$/;

/** `Authorization: Basic`, both parts form-encoded before (RFC 6749 §2.3.1, RFC 7617 §2). */
export const clientSecretBasic = (({ authorization }) => {
  const match = authorization === undefined ? null : basicPattern.exec(authorization);
  if (match === null) return undefined;
  const { clientId, clientSecret } = decode(match[1]?.trim() ?? '') ?? { clientId: '', clientSecret: '' };
  return {
    method: 'client_secret_basic',
    clientId,
    prove: (client, { now }) => proveBySecret(clientSecret, client, now()),
  };
}) satisfies ClientAuthentication;

function decode(encoded: string): { clientId: string; clientSecret: string } | undefined {
  if (!base64Pattern.test(encoded)) return undefined;
  try {
    const text = utf8.decode(Buffer.from(encoded, 'base64'));
    const colon = text.indexOf(':');
    if (colon === -1) return undefined;
    return { clientId: formDecode(text.slice(0, colon)), clientSecret: formDecode(text.slice(colon + 1)) };
  } catch {
    // Not UTF-8, or a stray percent sign: proves nobody.
    return undefined;
  }
}

function formDecode(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}
