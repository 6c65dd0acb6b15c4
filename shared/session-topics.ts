/** A client publishes its next token here, QoS 1, and its session goes on with it. Nobody can subscribe to it. */
export const TOKEN_TOPIC = '$fleetgate/token';

/** A client subscribes here to be told of its own session; each is told only its own. */
export const SESSION_TOPIC = '$fleetgate/session';

/** What a session may do, as concrete topic filters. A filter listed may still be refused in part, one not listed is. */
export interface SessionGrants {
  publish: string[];
  subscribe: string[];
}

/** What a client is told of its session, as JSON on {@link SESSION_TOPIC}. Times in seconds since 1970. */
export type SessionEvent =
  | { readonly event: 'session' | 'renewed'; readonly expires_at: number; readonly grants: SessionGrants }
  | { readonly event: 'expiring'; readonly expires_at: number }
  | { readonly event: 'refused'; readonly error: string };

/** The event in a message, or `undefined` for one that is none: a later broker may tell more. */
export function parseSessionEvent(json: string): SessionEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { event, expires_at, grants, error } = value as Record<string, unknown>;
  switch (event) {
    case 'session':
    case 'renewed':
      return isSeconds(expires_at) && isGrants(grants) ? { event, expires_at, grants } : undefined;
    case 'expiring':
      return isSeconds(expires_at) ? { event, expires_at } : undefined;
    case 'refused':
      return typeof error === 'string' ? { event, error } : undefined;
    default:
      return undefined;
  }
}

function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isGrants(value: unknown): value is SessionGrants {
  if (typeof value !== 'object' || value === null) return false;
  const { publish, subscribe } = value as Record<string, unknown>;
  const isList = (list: unknown) => Array.isArray(list) && list.every((item) => typeof item === 'string');
  return isList(publish) && isList(subscribe);
}
