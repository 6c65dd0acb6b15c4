import { parseRevocation, type Revocation } from '@fleetgate/shared';

/** One event of the feed: a revocation, or `ready`. */
export interface FeedEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

/** A reader of `GET /revocations`. */
export interface RevocationReader {
  readonly response: Response;
  /** The next event; rejects when the stream has ended. */
  next(): Promise<FeedEvent>;
  /** The next revocation; other events are passed over. */
  nextRevocation(): Promise<Revocation>;
  /** Revocations up to `ready`. */
  untilReady(): Promise<Revocation[]>;
  /** Comments so far. */
  readonly comments: readonly string[];
  /** Settles when the server has ended the stream. */
  ended(): Promise<void>;
  close(): void;
}

/** Opens the feed of the issuer at `url`. */
export async function openFeed(
  url: string,
  token: string,
  { after, lastEventId }: { after?: string | undefined; lastEventId?: string | undefined } = {},
): Promise<RevocationReader> {
  const aborting = new AbortController();
  const query = after === undefined ? '' : `?${new URLSearchParams({ after })}`;
  const response = await fetch(`${url}/revocations${query}`, {
    headers: {
      authorization: `Bearer ${token}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
    signal: aborting.signal,
  });
  const comments: string[] = [];
  const events = eventsOf(response, comments);

  async function next(): Promise<FeedEvent> {
    const { value, done } = await events.next();
    if (done === true) throw new Error('the feed has ended');
    return value;
  }

  return {
    response,
    comments,
    next,
    async nextRevocation() {
      for (;;) {
        const { event, data } = await next();
        if (event === undefined) return parseRevocation(JSON.parse(data));
      }
    },
    async untilReady() {
      const revocations: Revocation[] = [];
      for (;;) {
        const { event, data } = await next();
        if (event === 'ready') return revocations;
        revocations.push(parseRevocation(JSON.parse(data)));
      }
    },
    async ended() {
      while ((await events.next()).done !== true);
    },
    close: () => aborting.abort(),
  };
}

async function* eventsOf(response: Response, comments: string[]): AsyncGenerator<FeedEvent, void> {
  let text = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end === -1) break;
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      comments.push(...lines.filter((line) => line.startsWith(':')));
      const data = field('data');
      if (data !== undefined) yield { id: field('id'), event: field('event'), data };
    }
  }
}
