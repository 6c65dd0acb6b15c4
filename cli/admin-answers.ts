import { FleetgateError } from '@fleetgate/shared';

/** @throws FleetgateError `registry_unavailable`: no answer came from `base` */
export function unreachable(base: string, error: unknown): never {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const detail =
    cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
  throw new FleetgateError(
    'registry_unavailable',
    `no admin API answers at ${base} (${detail}); start one with 'fleetgate up', or name it with --admin-url`,
  );
}

/** @throws FleetgateError `client_unknown` or `key_unknown`, as the answer says */
export function notFound(text: string): never {
  const code = /"error":"key_unknown"/.test(text) ? 'key_unknown' : 'client_unknown';
  throw new FleetgateError(code, describe(text) ?? 'there is no such client or key');
}

/** @throws FleetgateError for an answer of 400 and more, with what to do about it */
export function refused(base: string, status: number, text: string, keyHint: string): never {
  throw new FleetgateError(
    status >= 500 ? 'registry_unavailable' : 'invalid_request',
    `${describe(text) ?? `HTTP ${status}`}${hintFor(base, status, codeOf(text), keyHint)}`,
  );
}

/** Where what an error says is not there can be looked for. */
const shownBy: Readonly<Record<string, string>> = {
  client_unknown: "'fleetgate client list' shows those there are",
  app_unknown: "'fleetgate app list' shows those there are",
  api_key_unknown: "'fleetgate api-key list' shows those there are",
  template_unknown: "'fleetgate template list' shows those there are",
  enrollment_unknown: "'fleetgate enrollment list' and 'fleetgate enrollment requests' show those there are",
  campaign_unknown: "'fleetgate campaign status' shows those there are",
  job_unknown: "'fleetgate fleet status' shows those there are",
};

function hintFor(base: string, status: number, code: string | undefined, keyHint: string): string {
  if (status === 401) return `; ${base} does not take this admin key: ${keyHint}`;
  if (status === 403) return '; name the file of such a key with --admin-key-file';
  if (code !== undefined && Object.hasOwn(shownBy, code)) return `; ${shownBy[code]}`;
  // Of an API that knows the path every 404 says what is not there.
  if (status === 404 && (code === undefined || code === 'invalid_request' || code === 'not_found')) {
    return `; ${base} is no admin API: it has a listener of its own, the 'admin' of the ready line; name that with --admin-url`;
  }
  return '';
}

function describe(text: string): string | undefined {
  try {
    const { error_description, error } = JSON.parse(text) as Record<string, unknown>;
    return String(error_description ?? error);
  } catch {
    return undefined;
  }
}

/** The code in an error's body; unset where there is none. */
export function codeOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as Record<string, unknown>;
    return typeof error === 'string' ? error : undefined;
  } catch {
    return undefined;
  }
}
