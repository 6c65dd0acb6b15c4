import { type Credentials, OAuthError } from '@fleetgate/shared';
import type { TokenTransport } from './transport/token-transport.ts';
import { transportOf as usualTransport } from './transport/transport-of.ts';

export interface RereadingTransport {
  /** Asks by the credentials that were good last. Those that came into the file since are tried first. */
  readonly request: TokenTransport;
  /** Looks into the file now. Whether it holds other credentials than those in use. Never rejects. */
  reread(): Promise<boolean>;
}

export interface RereadingOptions {
  /** Reads the credentials again. */
  readonly read: () => Promise<Credentials>;
  /** Told what is going on, in words without a secret. */
  readonly note: (text: string) => void;
  /** Default: the usual one, HTTP or CoAP. */
  readonly transportOf?: (credentials: Credentials) => TokenTransport;
}

interface Way {
  /** What it is told apart by. */
  readonly proof: string;
  readonly request: TokenTransport;
}

/**
 * A transport whose credentials may be replaced while it runs: by rotation of the secret, or of the key. The file is
 * read again when the issuer refuses those in use, and when told. Those in use are kept until others have proven good.
 */
export function rereadingTransport(
  first: Credentials,
  { read, note, transportOf = usualTransport }: RereadingOptions,
): RereadingTransport {
  const wayOf = (credentials: Credentials): Way => ({
    proof: proofOf(credentials),
    request: transportOf(credentials),
  });
  let inUse = wayOf(first);
  /** In the file, and not proven yet. */
  let next: Way | undefined;

  async function reread(): Promise<boolean> {
    try {
      const found = await read();
      if (found.client_id !== first.client_id || found.issuer !== first.issuer) {
        note('the credentials file is of another client or issuer now; restart to use it');
        return false;
      }
      const proof = proofOf(found);
      if (proof === inUse.proof) next = undefined;
      else if (proof !== next?.proof) next = wayOf(found);
      return next !== undefined;
    } catch (error) {
      note(`the credentials are not read again: ${(error as Error).message}`);
      return next !== undefined;
    }
  }

  async function byNext(way: Way, ...asked: Parameters<TokenTransport>) {
    try {
      const answer = await way.request(...asked);
      inUse = way;
      next = undefined;
      note('the new credentials are in use');
      return answer;
    } catch (error) {
      if (!isRefused(error)) throw error;
      note('the issuer refuses the new credentials; those before are tried');
      return undefined;
    }
  }

  return {
    reread,
    async request(...asked) {
      const tried = next;
      const answer = tried && (await byNext(tried, ...asked));
      if (answer !== undefined) return answer;
      try {
        return await inUse.request(...asked);
      } catch (error) {
        if (!isRefused(error)) throw error;
        await reread();
        const better = next === tried || next === undefined ? undefined : await byNext(next, ...asked);
        if (better === undefined) throw error;
        return better;
      }
    },
  };
}

const proofOf = ({ auth, token_endpoint: endpoint }: Credentials) => JSON.stringify([auth, endpoint ?? null]);

const isRefused = (error: unknown) => error instanceof OAuthError && error.code === 'invalid_client';
