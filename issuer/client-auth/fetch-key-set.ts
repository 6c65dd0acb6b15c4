import { uncheckedTls } from '@fleetgate/shared';

/** A key set as it was fetched, or in a few words why there is none. */
export type FetchedKeySet =
  | { readonly set: unknown; readonly problem?: undefined }
  | { readonly problem: string };

/** Bytes of a key set: 16 keys with a certificate each have less. */
const MAX_KEY_SET_BYTES = 131_072;

/**
 * Fetches the JWK set at `url`. Redirects are not followed, and what takes too long is cut off. Never rejects; the
 * problem names the host and holds nothing of the answer.
 */
export async function fetchKeySet(url: string, timeoutMs: number): Promise<FetchedKeySet> {
  const { origin } = new URL(url);
  const unchecked = uncheckedTls(url);
  if (unchecked !== undefined) return { problem: `${origin} is not asked: ${unchecked}` };
  try {
    const response = await fetch(url, {
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { accept: 'application/jwk-set+json, application/json' },
    });
    const type = response.headers.get('content-type') ?? '';
    if (response.status !== 200 || !/^application\/([A-Za-z0-9._-]+\+)?json[ \t]*(;|$)/i.test(type)) {
      await response.body?.cancel();
      return { problem: `${origin} answered ${response.status}, or something else than JSON` };
    }
    const text = await readBounded(response);
    if (text === undefined) return { problem: `${origin} answered more than ${MAX_KEY_SET_BYTES} bytes` };
    return { set: JSON.parse(text) };
  } catch (error) {
    return { problem: `${origin} cannot be asked: ${whyFailed(error)}` };
  }
}

async function readBounded(response: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body and closes the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_KEY_SET_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

// The cause only: fetch's own message is "fetch failed", and that of JSON.parse quotes the text.
function whyFailed(error: unknown): string {
  if (error instanceof SyntaxError) return 'the answer is not JSON';
  if (!(error instanceof Error)) return 'unknown reason';
  if (error.name === 'TimeoutError') return 'no answer in time';
  const { cause } = error;
  return cause instanceof Error ? String('code' in cause ? cause.code : cause.message) : error.name;
}
