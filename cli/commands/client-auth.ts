import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type CredentialsAuth, privateJwkMembers } from '@fleetgate/shared';
import { type Command, Option } from 'commander';
import type { NewClient } from '../admin-client.ts';
import { UsageError } from '../exit.ts';
import { makeKeyPair } from '../key-pair.ts';

/** Options by which `client create` says how the machine authenticates. */
export interface ClientAuthFlags {
  auth?: string;
  publicJwk?: string;
  jwksUri?: string;
  certFile?: string;
  keyFile?: string;
  subjectDn?: string;
  sanDns?: string;
  sanUri?: string;
  sanIp?: string;
  sanEmail?: string;
  out?: string;
}

/** How a machine is to authenticate: what is registered of it, and what its credentials file holds. */
export interface ClientAuthPlan {
  readonly registered: Partial<NewClient>;
  /** Unset where a secret does, which the issuer makes. */
  readonly credentials?: CredentialsAuth;
}

type Jwk = Record<string, unknown>;

/** Adds the options of {@link ClientAuthFlags}, but `--out`. */
export function withClientAuth(command: Command): Command {
  return command
    .addOption(
      new Option('--auth <method>', 'how it authenticates (default: client_secret_basic)').choices(
        Object.keys(plans),
      ),
    )
    .option('--public-jwk <file>', 'its public key, or set of keys (default: a pair is made, for --out)')
    .option('--jwks-uri <url>', 'where its public keys are, https')
    .option('--cert-file <file>', 'its certificate, PEM')
    .option('--key-file <file>', 'the key of it, PEM; its path is put into --out, and it goes nowhere')
    .option('--subject-dn <name>', 'subject of its certificate, such as O=Example,CN=press-7')
    .option('--san-dns <name>', 'DNS name in its certificate')
    .option('--san-uri <uri>', 'URI in its certificate')
    .option('--san-ip <address>', 'IP address in its certificate')
    .option('--san-email <address>', 'mail address in its certificate');
}

/** @throws UsageError for options that do not go together, or a file that cannot be used */
export function planClientAuth(flags: ClientAuthFlags): ClientAuthPlan {
  const method = flags.auth ?? 'client_secret_basic';
  const { of, plan }: Plan = plans[method as keyof typeof plans];
  for (const [name, option] of keyOptions) {
    if (flags[name] !== undefined && !of.includes(name)) {
      throw new UsageError(`${option} is of no use with --auth ${method}`);
    }
  }
  const { registered, credentials } = plan(flags);
  return {
    registered: { ...(flags.auth === undefined ? {} : { auth_method: flags.auth }), ...registered },
    ...(credentials === undefined ? {} : { credentials }),
  };
}

type KeyFlag = Exclude<keyof ClientAuthFlags, 'auth' | 'out'>;

const keyOptions: readonly (readonly [KeyFlag, string])[] = [
  ['publicJwk', '--public-jwk'],
  ['jwksUri', '--jwks-uri'],
  ['certFile', '--cert-file'],
  ['keyFile', '--key-file'],
  ['subjectDn', '--subject-dn'],
  ['sanDns', '--san-dns'],
  ['sanUri', '--san-uri'],
  ['sanIp', '--san-ip'],
  ['sanEmail', '--san-email'],
];

interface Plan {
  /** Options that the method takes. */
  readonly of: readonly KeyFlag[];
  readonly plan: (flags: ClientAuthFlags) => ClientAuthPlan;
}

const secret: Plan = { of: [], plan: () => ({ registered: {} }) };

const plans = {
  client_secret_basic: secret,
  client_secret_post: secret,
  oscore: secret,
  private_key_jwt: { of: ['publicJwk', 'jwksUri'], plan: planKeys },
  tls_client_auth: {
    of: ['certFile', 'keyFile', 'subjectDn', 'sanDns', 'sanUri', 'sanIp', 'sanEmail'],
    plan: planNamed,
  },
  self_signed_tls_client_auth: {
    of: ['publicJwk', 'jwksUri', 'certFile', 'keyFile'],
    plan: planSelfSigned,
  },
} satisfies Record<string, Plan>;

function planKeys(flags: ClientAuthFlags): ClientAuthPlan {
  const given = givenKeys(flags);
  if (given !== undefined) {
    if (flags.out !== undefined) {
      throw new UsageError(
        '--out is of no use with a key that was made elsewhere: its private half is not known here',
      );
    }
    return { registered: given };
  }
  if (flags.out === undefined) {
    throw new UsageError(
      '--auth private_key_jwt makes a key pair; name the file for its private key with --out, ' +
        'or the public key of one there is with --public-jwk or --jwks-uri',
    );
  }
  const { publicJwk, privateJwk } = makeKeyPair();
  return {
    registered: { jwks: { keys: [publicJwk] } },
    credentials: { method: 'private_key_jwt', private_jwk: privateJwk },
  };
}

function planNamed(flags: ClientAuthFlags): ClientAuthPlan {
  const names = {
    ...(flags.subjectDn === undefined ? {} : { tls_client_auth_subject_dn: flags.subjectDn }),
    ...(flags.sanDns === undefined ? {} : { tls_client_auth_san_dns: flags.sanDns }),
    ...(flags.sanUri === undefined ? {} : { tls_client_auth_san_uri: flags.sanUri }),
    ...(flags.sanIp === undefined ? {} : { tls_client_auth_san_ip: flags.sanIp }),
    ...(flags.sanEmail === undefined ? {} : { tls_client_auth_san_email: flags.sanEmail }),
  };
  if (Object.keys(names).length !== 1) {
    const options = '--subject-dn, --san-dns, --san-uri, --san-ip, --san-email';
    throw new UsageError(`--auth tls_client_auth takes exactly one of ${options}`);
  }
  return { registered: names, ...certificateCredentials(flags) };
}

function planSelfSigned(flags: ClientAuthFlags): ClientAuthPlan {
  const registered =
    givenKeys(flags) ??
    (flags.certFile === undefined ? undefined : { jwks: { keys: [jwkOfCertificate(flags.certFile)] } });
  if (registered === undefined) {
    throw new UsageError('--auth self_signed_tls_client_auth needs --cert-file, --public-jwk or --jwks-uri');
  }
  return { registered, ...certificateCredentials(flags) };
}

/** A device presents a certificate in one way, whoever vouches for it. */
function certificateCredentials({
  out,
  certFile,
  keyFile,
}: ClientAuthFlags): Pick<ClientAuthPlan, 'credentials'> {
  if (out === undefined) return {};
  if (certFile === undefined || keyFile === undefined) {
    throw new UsageError('--out needs --cert-file and --key-file, which the credentials file names');
  }
  if (!readCertificate(certFile).checkPrivateKey(readPrivateKey(keyFile))) {
    throw new UsageError(`the key in ${keyFile} does not belong to the certificate in ${certFile}`);
  }
  return {
    credentials: {
      method: 'tls_client_auth',
      cert_file: resolve(certFile),
      key_file: resolve(keyFile),
    },
  };
}

function givenKeys({ publicJwk, jwksUri }: ClientAuthFlags): Partial<NewClient> | undefined {
  if (publicJwk !== undefined && jwksUri !== undefined) {
    throw new UsageError('--public-jwk and --jwks-uri exclude each other; name one');
  }
  if (jwksUri !== undefined) return { jwks_uri: jwksUri };
  return publicJwk === undefined ? undefined : { jwks: { keys: readPublicKeys(publicJwk) } };
}

function readPublicKeys(file: string): Jwk[] {
  let value: unknown;
  try {
    value = JSON.parse(readFile(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // The parser quotes the text, and that may be a private key.
    throw new UsageError(`${file} is no JSON; name a file that holds a JWK or a JWK set`);
  }
  const set = isObject(value) && Array.isArray(value['keys']) ? value['keys'] : [value];
  if (!set.every(isObject)) throw new UsageError(`${file} holds no JWK and no JWK set`);
  // Refused here, so that it is not sent to find that out.
  if (set.some((jwk) => privateJwkMembers.some((name) => name in jwk) || 'k' in jwk)) {
    throw new UsageError(`${file} holds a private key; name the file of the public one`);
  }
  return set;
}

function readCertificate(file: string): X509Certificate {
  const text = readFile(file);
  try {
    return new X509Certificate(text);
  } catch {
    throw new UsageError(`${file} holds no PEM certificate; it must begin with -----BEGIN CERTIFICATE-----`);
  }
}

function readPrivateKey(file: string): KeyObject {
  const text = readFile(file);
  try {
    return createPrivateKey(text);
  } catch {
    // The library's message may quote the key.
    throw new UsageError(`${file} holds no PEM private key without a passphrase`);
  }
}

function jwkOfCertificate(file: string): Jwk {
  const certificate = readCertificate(file);
  const jwk = certificate.publicKey.export({ format: 'jwk' });
  return { ...jwk, x5c: [certificate.raw.toString('base64')] };
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
}

function isObject(value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
