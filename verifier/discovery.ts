import { isLoopback, isSecureAddress } from '@fleetgate/shared';
import { fetchJson } from './fetch-json.ts';

/** Metadata of an issuer, known to be its own. */
export type Metadata = ReadonlyMap<string, unknown>;

/** Bytes of a metadata document: those in use have three or four thousand. */
const MAX_METADATA_BYTES = 65_536;

/**
 * The metadata of an issuer: at the place RFC 8414 §3.1 gives, and failing that at OpenID Connect Discovery's (§4).
 * Only a document that names this very issuer counts (RFC 8414 §3.3).
 */
export async function discover(
  issuer: string,
  signal: AbortSignal,
): Promise<Metadata | { readonly problem: string }> {
  const problems: string[] = [];
  for (const url of metadataPlaces(issuer)) {
    const answer = await fetchJson({ url, signal, maxBytes: MAX_METADATA_BYTES });
    if (answer.problem !== undefined) {
      problems.push(answer.problem);
      continue;
    }
    const { value } = answer;
    if (typeof value === 'object' && value !== null && (value as { issuer?: unknown }).issuer === issuer) {
      return new Map(Object.entries(value));
    }
    problems.push(`the metadata at ${url} is of another issuer`);
  }
  return { problem: problems.join('; ') };
}

/**
 * An endpoint the metadata names. It may be http only where the issuer is on this machine as well: metadata does not
 * point into this machine from outside.
 */
export function endpointOf(
  metadata: Metadata,
  names: readonly string[],
  issuer: string,
): string | { readonly problem: string } {
  const name = names.find((one) => metadata.has(one));
  const endpoint = name === undefined ? undefined : metadata.get(name);
  if (typeof endpoint !== 'string') return { problem: `the metadata of the issuer names no ${names[0]}` };
  const isAllowed = isSecureAddress(endpoint) && (endpoint.startsWith('https:') || isLocal(issuer));
  return isAllowed ? endpoint : { problem: `${name} of the metadata is not an https address` };
}

/** Whether metadata can be looked for: https unless loopback, without query and fragment (RFC 8414 §2). */
export function isDiscoverable(issuer: string): boolean {
  return isSecureAddress(issuer) && !/[?#]/.test(issuer);
}

/** Without path the first is the plain well-known path; with one it stands between host and path. */
function metadataPlaces(issuer: string): readonly string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  return [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
}

function isLocal(address: string): boolean {
  return isLoopback(new URL(address).hostname);
}
