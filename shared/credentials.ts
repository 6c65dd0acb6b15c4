import { FleetgateError } from './errors.ts';
import { isIdentifier } from './identifier.ts';
import { MAX_ID_BYTES } from './oscore/security-context.ts';

/** How a device authenticates to the issuer. Names are those of RFC 8414 `token_endpoint_auth_methods`, and `oscore`. */
export type CredentialsAuth =
  | { readonly method: 'client_secret_basic'; readonly client_secret: string }
  | { readonly method: 'private_key_jwt'; readonly private_jwk: Readonly<Record<string, unknown>> }
  | { readonly method: 'tls_client_auth'; readonly cert_file: string; readonly key_file: string }
  | {
      readonly method: 'oscore';
      /** These in hexadecimal; ids as the device has them: its own is the sender's. */
      readonly master_secret: string;
      readonly master_salt?: string;
      readonly sender_id: string;
      readonly recipient_id: string;
      readonly id_context?: string;
      /** Where the device remembers which sequence numbers it used. Default: beside the credentials file. */
      readonly sequence_file?: string;
    };

/** The device credentials file: JSON, mode 0600. `scope` unset asks for all that is registered. */
export interface Credentials {
  readonly version: 1;
  readonly client_id: string;
  /** The issuer's `iss`, an http or https URL. */
  readonly issuer: string;
  /** Default: what the issuer's metadata names (RFC 8414). With `oscore` a `coap://` address. */
  readonly token_endpoint?: string;
  readonly auth: CredentialsAuth;
  /** Space-separated. */
  readonly scope?: string;
  readonly audience?: string;
  readonly broker?: { readonly url: string; readonly ca_file?: string };
}

type Fields = Record<string, unknown>;
type Check = (value: unknown) => string | undefined;

const text: Check = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'must be a non-empty string';
const url =
  (...protocols: string[]): Check =>
  (value) => {
    const parsed = typeof value === 'string' ? URL.parse(value) : null;
    return parsed !== null && protocols.includes(parsed.protocol)
      ? undefined
      : `must be a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;
  };

const credentialsFields: Record<string, Check> = {
  version: (value) => (value === 1 ? undefined : 'must be 1'),
  client_id: (value) => (isIdentifier(value) ? undefined : 'must match [A-Za-z0-9._-]{1,64}'),
  issuer: url('http:', 'https:'),
  token_endpoint: url('http:', 'https:', 'coap:'),
  auth: (value) => (isObject(value) ? undefined : 'must be an object'),
  scope: (value) => (typeof value === 'string' ? undefined : 'must be a string'),
  audience: text,
  broker: (value) => (isObject(value) ? undefined : 'must be an object'),
};
const brokerFields: Record<string, Check> = { url: url('mqtt:', 'mqtts:', 'ws:', 'wss:'), ca_file: text };
const authFields: Record<CredentialsAuth['method'], { required: string[]; optional: string[] }> = {
  client_secret_basic: { required: ['client_secret'], optional: [] },
  private_key_jwt: { required: ['private_jwk'], optional: [] },
  tls_client_auth: { required: ['cert_file', 'key_file'], optional: [] },
  oscore: {
    required: ['master_secret', 'sender_id', 'recipient_id'],
    optional: ['master_salt', 'id_context', 'sequence_file'],
  },
};

/** @param min, max number of bytes */
const hex =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === 'string' &&
    /^([0-9a-f]{2})*$/.test(value) &&
    value.length >= min * 2 &&
    value.length <= max * 2
      ? undefined
      : `must be ${min} to ${max} bytes in hexadecimal`;

// RFC 8613 §3.2 and §5.2.
const oscoreChecks: Record<string, Check> = {
  master_secret: hex(16, 64),
  master_salt: hex(0, 64),
  sender_id: hex(0, MAX_ID_BYTES),
  recipient_id: hex(0, MAX_ID_BYTES),
  id_context: hex(0, 255),
};

/**
 * The credentials in the text of a credentials file. Unknown keys are refused: a misspelled one would be ignored.
 * @throws FleetgateError `credentials_invalid`; the message names the key, never a value
 */
export function parseCredentials(json: string): Credentials {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // JSON.parse quotes the text in its message, and with it the secret.
    return invalid('credentials are not JSON');
  }
  return checkCredentials(value);
}

/**
 * The same for a value that is already parsed.
 * @throws FleetgateError `credentials_invalid`
 */
export function checkCredentials(value: unknown): Credentials {
  if (!isObject(value)) return invalid('credentials must be a JSON object');
  checkFields(value, '', credentialsFields, ['version', 'client_id', 'issuer', 'auth']);
  checkAuth(value['auth'] as Fields);
  if (value['broker'] !== undefined) checkFields(value['broker'] as Fields, 'broker.', brokerFields, ['url']);
  const isCoap = typeof value['token_endpoint'] === 'string' && value['token_endpoint'].startsWith('coap:');
  const isOscore = (value['auth'] as Fields)['method'] === 'oscore';
  if (isOscore && !isCoap) invalid('token_endpoint must be a coap:// address with auth.method oscore');
  if (isCoap && !isOscore) invalid('auth.method must be oscore with a coap:// token_endpoint');
  return structuredClone(value) as unknown as Credentials;
}

/** The text of a credentials file, ending in a newline. */
export function formatCredentials(credentials: Credentials): string {
  return `${JSON.stringify(credentials, null, 2)}\n`;
}

function checkAuth(auth: Fields): void {
  const method = auth['method'];
  if (typeof method !== 'string' || !Object.hasOwn(authFields, method)) {
    invalid(`auth.method must be one of ${Object.keys(authFields).join(', ')}`);
  }
  const { required, optional } = authFields[method as CredentialsAuth['method']];
  const checks: Record<string, Check> = { method: text };
  for (const key of [...required, ...optional]) checks[key] = text;
  if (method === 'private_key_jwt') {
    checks['private_jwk'] = (value) => (isObject(value) ? undefined : 'must be a JSON Web Key object');
  }
  if (method === 'oscore') Object.assign(checks, oscoreChecks);
  checkFields(auth, 'auth.', checks, ['method', ...required]);
}

function checkFields(value: Fields, prefix: string, checks: Record<string, Check>, required: string[]): void {
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(checks, key)) {
      invalid(`unknown key ${prefix}${key}; known are ${Object.keys(checks).join(', ')}`);
    }
  }
  for (const key of required) if (value[key] === undefined) invalid(`${prefix}${key} is missing`);
  for (const [key, check] of Object.entries(checks)) {
    const problem = value[key] === undefined ? undefined : check(value[key]);
    if (problem !== undefined) invalid(`${prefix}${key} ${problem}`);
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(message: string): never {
  throw new FleetgateError('credentials_invalid', message);
}
