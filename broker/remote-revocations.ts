import { setTimeout as sleep } from 'node:timers/promises';
import {
  FleetgateError,
  isCursor,
  parseRevocation,
  type RevocationTarget,
  uncheckedTls,
} from '@fleetgate/shared';
import { createParser } from 'eventsource-parser';
import type { Logger } from './options.ts';
import type { Revocation } from './revocation.ts';
import type { RevocationListener, RevocationSource } from './revocation-source.ts';

export interface RemoteRevocationsOptions {
  /** `https://issuer/revocations`. */
  readonly url: string;
  /** An access token of the issuer with the scope `fleetgate.revocations`, asked for at each connection. */
  readonly token: () => Promise<string>;
  readonly log?: Logger;
  /** Chance for jitter. Default `Math.random`. */
  readonly random?: () => number;
  /** Without a byte for that long the connection is given up; the issuer sends one each 15 s. Default 45000. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 45_000;

/** From the request to the head of its answer. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Back-off between two tries: full jitter up to a ceiling that doubles from the first to the second. Ours: brokers are
 * few, and one that does not hear of revocations does harm.
 */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 10_000;

/** Characters of one event; ours have some 200. */
const MAX_EVENT_LENGTH = 16_384;

/**
 * The revocations of an issuer in another process, from its feed of server-sent events, taken up again at the cursor
 * after a break. A kind of revocation that is not known here takes back everything issued so far.
 */
export function remoteRevocations(options: RemoteRevocationsOptions): RevocationSource {
  return (listener) => {
    const stopping = new AbortController();
    void follow(options, listener, stopping.signal);
    return () => stopping.abort();
  };
}

async function follow(
  { url, token, log, random = Math.random, silenceMs = SILENCE_MS }: RemoteRevocationsOptions,
  listener: RevocationListener,
  stopped: AbortSignal,
): Promise<void> {
  const at: Position = { cursor: undefined, isCurrent: false };
  let failures = 0;
  while (!stopped.aborted) {
    try {
      await read({ url, token: await token(), silenceMs }, at, listener, stopped);
    } catch (error) {
      if (stopped.aborted) return;
      const code = error instanceof FleetgateError ? error.code : 'internal_error';
      const problem = error instanceof FleetgateError ? error.message : causeOf(error);
      log?.warn({ event: 'revocation_feed_away', url, code, problem }, 'the revocation feed is away');
    }
    listener.away();
    failures = at.isCurrent ? 0 : failures + 1;
    at.isCurrent = false;
    const ceilingMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    await sleep(random() * ceilingMs, undefined, { signal: stopped, ref: false }).catch(() => {});
  }
}

/** Of a connection that failed, the code alone: its message may hold an address of the inside. */
function causeOf(error: unknown): string {
  const { cause } = error as { cause?: NodeJS.ErrnoException };
  return cause?.code ?? (error instanceof Error ? error.name : 'error');
}

interface Position {
  /** The last event that was taken; a connection begins behind it. */
  cursor: string | undefined;
  isCurrent: boolean;
}

/** Reads one connection to its end. */
async function read(
  request: { url: string; token: string; silenceMs: number },
  at: Position,
  listener: RevocationListener,
  stopped: AbortSignal,
): Promise<void> {
  const unchecked = uncheckedTls(request.url);
  if (unchecked !== undefined) throw new FleetgateError('token_request_failed', unchecked);
  const ending = new AbortController();
  const signal = AbortSignal.any([stopped, ending.signal]);
  let timer = setTimeout(() => ending.abort(), CONNECT_TIMEOUT_MS);
  try {
    const url = new URL(request.url);
    if (at.cursor !== undefined) url.searchParams.set('after', at.cursor);
    const headers = { authorization: `Bearer ${request.token}`, accept: 'text/event-stream' };
    const response = await fetch(url, { headers, redirect: 'error', signal });
    const type = response.headers.get('content-type') ?? '';
    if (response.status !== 200 || !type.startsWith('text/event-stream') || response.body === null) {
      await response.body?.cancel();
      throw new FleetgateError('token_request_failed', `the revocation feed answered ${response.status}`);
    }
    const parser = createParser({
      onEvent({ id, event, data }) {
        // Also behind one that cannot be read: it is not to be met again and again.
        if (id !== undefined && isCursor(id)) at.cursor = id;
        take(event, data, at, listener);
      },
      maxBufferSize: MAX_EVENT_LENGTH,
      onError() {
        ending.abort();
      },
    });
    const text = new TextDecoder();
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = setTimeout(() => ending.abort(), request.silenceMs);
      timer.unref();
      parser.feed(text.decode(chunk, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
    ending.abort();
  }
}

function take(event: string | undefined, data: string, at: Position, listener: RevocationListener): void {
  if (event === 'ready') {
    at.isCurrent = true;
    listener.current();
    return;
  }
  let revocation: Revocation;
  try {
    revocation = fromWire(parseRevocation(JSON.parse(data)));
  } catch {
    // It takes something back, and nobody here knows what.
    revocation = { kind: 'issued_before', atSeconds: Math.floor(Date.now() / 1000) + 1 };
  }
  listener.revoke(revocation);
}

function fromWire(target: RevocationTarget): Revocation {
  switch (target.kind) {
    case 'token':
      return { kind: 'token', tokenId: target.jti };
    case 'client':
      return {
        kind: 'client',
        clientId: target.client_id,
        atSeconds: target.at,
        ...(target.quarantined ? { isQuarantined: true } : {}),
      };
    case 'issued_before': {
      const { client_id: clientId, at: atSeconds } = target;
      return { kind: 'issued_before', atSeconds, ...(clientId === undefined ? {} : { clientId }) };
    }
    case 'key':
      return { kind: 'key', keyId: target.kid };
  }
}
