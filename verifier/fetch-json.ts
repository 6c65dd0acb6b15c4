import { uncheckedTls } from '@fleetgate/shared';

/** What came of a request: JSON, or in a few words why there is none. */
export type FetchedJson =
  | { readonly value: unknown; readonly cacheControl: string | null; readonly problem?: undefined }
  | { readonly problem: string };

export interface JsonRequest {
  readonly url: string;
  /** Ends the request, its body included. */
  readonly signal: AbortSignal;
  /** Bytes of the body that are read, decoded. */
  readonly maxBytes: number;
  /** With one it is a POST of this form. */
  readonly form?: URLSearchParams;
  readonly authorization?: string;
}

/**
 * One HTTP exchange whose answer is 200 and JSON, or a problem. Redirects are not followed. Never rejects, and the
 * problem holds nothing of what was sent.
 */
export async function fetchJson({
  url,
  signal,
  maxBytes,
  form,
  authorization,
}: JsonRequest): Promise<FetchedJson> {
  const unchecked = uncheckedTls(url);
  if (unchecked !== undefined) return { problem: `${new URL(url).origin} is not asked: ${unchecked}` };
  try {
    const response = await fetch(url, {
      redirect: 'error',
      signal,
      headers: { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) },
      ...(form === undefined ? {} : { method: 'POST', body: form }),
    });
    const problem = problemOf(response);
    if (problem !== undefined) {
      await response.body?.cancel();
      return { problem: `${new URL(url).origin} ${problem}` };
    }
    const text = await readBounded(response, maxBytes);
    if (text === undefined) return { problem: `the answer is longer than ${maxBytes} bytes` };
    return { value: JSON.parse(text), cacheControl: response.headers.get('cache-control') };
  } catch (error) {
    return { problem: `${new URL(url).origin} cannot be asked: ${whyFetchFailed(error)}` };
  }
}

function problemOf(response: Response): string | undefined {
  if (response.status !== 200) return `answered ${response.status}`;
  return isJson(response.headers.get('content-type') ?? '') ? undefined : 'answered something else than JSON';
}

/** `application/json` or any `+json` (RFC 6839 §3.1), parameters behind it or not. */
function isJson(contentType: string): boolean {
  return /^application\/([A-Za-z0-9!#$&^_.-]+\+)?json[ \t]*(;|$)/i.test(contentType);
}

async function readBounded(response: Response, maxBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body and closes the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

// The cause only: fetch's own message is "fetch failed", and that of JSON.parse quotes the text.
function whyFetchFailed(error: unknown): string {
  if (error instanceof SyntaxError) return 'the answer is not JSON';
  if (!(error instanceof Error)) return 'unknown reason';
  if (error.name === 'TimeoutError') return 'no answer in time';
  const { cause } = error;
  if (!(cause instanceof Error)) return error.name;
  const code = 'code' in cause ? String(cause.code) : '';
  return code || cause.message || error.name;
}
