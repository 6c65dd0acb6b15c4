/** What the admin API said no with (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, words: string) {
    super(words);
    this.status = status;
    this.code = code;
  }
}

export interface Session {
  readonly key: string;
  readonly role: 'admin' | 'provisioner' | 'auditor';
  readonly way: 'key' | 'oidc';
  /** What people call them. */
  readonly title?: string;
  readonly roles: readonly string[];
  readonly issuer?: string;
}

/** Told when a request found nobody signed in. */
let onSignedOut = () => {};

export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

/** Asks for the key once more; resolves with whether it was given. */
let onStepUp: () => Promise<boolean> = async () => false;
/** Of requests that are sent at once the key is asked for once. */
let asking: Promise<boolean> | undefined;

function stepUp(): Promise<boolean> {
  asking ??= onStepUp().finally(() => {
    asking = undefined;
  });
  return asking;
}

export function whenStepUp(ask: () => Promise<boolean>): void {
  onStepUp = ask;
}

/** Headers of what the page asks by itself, which is no sign that somebody is there. */
export const watching = Object.freeze({ 'fleetgate-watching': '1' });

export interface Answer<Body> {
  readonly body: Body;
  readonly etag: string | undefined;
}

/** A request to the console's own routes; `/v1/…` is the admin API. */
export async function call<Body>(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<Body>> {
  const response = await fetch(`./api${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.ok) {
    return {
      body: (text === '' ? undefined : JSON.parse(text)) as Body,
      etag: response.headers.get('etag') ?? undefined,
    };
  }
  const problem = problemOf(response.status, text);
  if (problem.code === 'step_up_required' && (await stepUp())) return call(method, path, body, headers);
  if (response.status === 401 && path !== '/session') onSignedOut();
  throw problem;
}

export async function get<Body>(path: string): Promise<Body> {
  return (await call<Body>('GET', path)).body;
}

/** Lines of JSON as they come. */
export async function* lines<Line>(path: string, signal: AbortSignal): AsyncGenerator<Line> {
  const response = await fetch(`./api${path}`, { signal });
  if (!response.ok || response.body === null) {
    if (response.status === 401) onSignedOut();
    throw problemOf(response.status, await response.text());
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (rest + value).split('\n');
    rest = whole.pop() as string;
    for (const line of whole) yield JSON.parse(line) as Line;
  }
}

function problemOf(status: number, text: string): Problem {
  try {
    const { code, detail, title } = JSON.parse(text) as Record<string, string>;
    return new Problem(status, code ?? 'error', detail ?? title ?? `HTTP ${status}`);
  } catch {
    return new Problem(status, 'error', `HTTP ${status}`);
  }
}

export interface Client {
  readonly client_id: string;
  readonly name?: string;
  readonly scope: string;
  readonly audience: readonly string[];
  readonly group?: string;
  readonly labels: Record<string, string>;
  readonly metadata: Record<string, unknown>;
  readonly state: 'active' | 'quarantined';
  readonly quarantine_reason?: string;
  readonly auth_method: string;
  readonly token_lifetime_seconds?: number;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_seen_on?: string;
  readonly secret_expires_at?: string;
}

export interface Secret {
  readonly secret_id: string;
  readonly state: 'live' | 'ended';
  readonly created_at: string;
  readonly expires_at?: string;
  /** It ends a minute after the first use of the newer one. */
  readonly until_new_is_used?: boolean;
  readonly first_used_at?: string;
  readonly last_used_on?: string;
}
