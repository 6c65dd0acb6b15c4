import {
  ACE_CBOR,
  type CoapContent,
  type CoapOption,
  type Credentials,
  coapCode,
  coapOption,
  decodeAceError,
  decodeAceResponse,
  deriveContext,
  encodeAceRequest,
  FleetgateError,
  OAuthError,
  OscoreError,
  protectRequest,
  type SecurityContext,
  type TokenResponse,
  uintOption,
  uintValue,
  unprotectResponse,
} from '@fleetgate/shared';
import { openSequenceNumbers, type SequenceNumbers } from '../sequence-numbers.ts';
import { type CoapEndpoint, exchangeOverCoap } from './coap-exchange.ts';
import { checkTokenResponse, printable } from './token-response.ts';
import { IssuerBusyError, type TokenRequest, type TokenTransport } from './token-transport.ts';

export interface CoapTransportOptions {
  /** Time for one token, challenges and retransmissions included, in milliseconds. Default 60 000. */
  readonly timeoutMs?: number;
  /** Default: those in the file that the credentials name. */
  readonly sequenceNumbers?: SequenceNumbers;
  /** How retransmissions are timed. */
  readonly timing?: Parameters<typeof exchangeOverCoap>[2]['timing'];
}

const DEFAULT_PORT = 5683;

/** Challenges that one request answers: the issuer's restart is one, and one that was late another. */
const MAX_CHALLENGES = 2;

/**
 * Fetches tokens over CoAP inside OSCORE (RFC 9200 §5.8, RFC 9203 §5). Nothing is ever sent unprotected, and what comes
 * unprotected is a hint that something is wrong: anybody may have sent it.
 * @throws FleetgateError `credentials_invalid` for a context that cannot be, or without a place for sequence numbers
 */
export function coapTransport(credentials: Credentials, options: CoapTransportOptions = {}): TokenTransport {
  const { timeoutMs = 60_000, timing } = options;
  const context = contextOf(credentials);
  const endpoint = endpointOf(credentials.token_endpoint as string);
  const numbers = options.sequenceNumbers ?? openSequenceNumbers(sequenceFileOf(credentials));

  return async function requestToken(request, signal): Promise<TokenResponse> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const payload = encodeAceRequest({ scope: request.scope, audience: request.audience });
    const post = { format: ACE_CBOR, payload };
    return tokenIn(
      await postProtected({ endpoint, context, numbers, signal: within, timing }, post),
      request,
    );
  };
}

/** A context with an endpoint, ready for requests. */
export interface ProtectedPeer {
  readonly endpoint: NamedEndpoint;
  readonly context: SecurityContext;
  readonly numbers: SequenceNumbers;
  readonly signal: AbortSignal;
  readonly timing?: CoapTransportOptions['timing'];
  /** Where the sender's id alone does not name the context. Default: it does. */
  readonly sendsIdContext?: boolean;
  /** What an answer without protection may mean. Default: that the issuer does not know the context. */
  readonly unprotectedHint?: string;
}

const UNKNOWN_CONTEXT = 'if it stays so, the issuer does not know this context (any more)';

/**
 * One POST inside OSCORE and its answer, challenges for an Echo (RFC 9175 §2.3) answered on the way.
 * @throws FleetgateError `token_request_failed`
 */
export async function postProtected(
  peer: ProtectedPeer,
  post: { readonly format: number; readonly payload: Uint8Array },
): Promise<CoapContent> {
  const { endpoint, context, numbers, signal, timing, sendsIdContext = false } = peer;
  let echo: CoapOption | undefined;
  for (let challenges = 0; challenges <= MAX_CHALLENGES; challenges += 1) {
    const plain = plainRequest(endpoint, post, echo);
    const { message, binding } = protectRequest(context, plain, await numbers.next(), { sendsIdContext });
    const answer = await exchangeOverCoap(endpoint, message, { signal, timing });
    const inner = unprotect(peer, answer, binding);
    echo = inner.code === coapCode.UNAUTHORIZED ? echoOf(inner) : undefined;
    if (echo === undefined) return inner;
  }
  throw failed(`${endpoint.name} asks again and again whether the request is new`);
}

/** An endpoint with the path of a resource. */
export type NamedEndpoint = CoapEndpoint & { readonly path: readonly string[] };

function contextOf({ auth }: Credentials): SecurityContext {
  if (auth.method !== 'oscore')
    throw invalid(`auth.method ${auth.method} is none for a coap:// token_endpoint`);
  const bytes = (hex: string) => Buffer.from(hex, 'hex');
  try {
    return deriveContext({
      masterSecret: bytes(auth.master_secret),
      masterSalt: bytes(auth.master_salt ?? ''),
      senderId: bytes(auth.sender_id),
      recipientId: bytes(auth.recipient_id),
      idContext: auth.id_context === undefined ? undefined : bytes(auth.id_context),
    });
  } catch (error) {
    throw invalid(`auth is no OSCORE context: ${(error as Error).message}`);
  }
}

function sequenceFileOf({ auth }: Credentials): string {
  const file = auth.method === 'oscore' ? auth.sequence_file : undefined;
  if (file !== undefined) return file;
  throw invalid('auth.sequence_file is missing: where the sequence numbers are kept that were used');
}

/** @throws FleetgateError `credentials_invalid` */
export function endpointOf(tokenEndpoint: string): NamedEndpoint {
  try {
    const { hostname, port, host, pathname, search, hash, username, password } = new URL(tokenEndpoint);
    const isPlain = search === '' && hash === '' && username === '' && password === '';
    if (hostname !== '' && port !== '0' && isPlain) {
      return {
        host: hostname.replace(/^\[|\]$/g, ''),
        port: port === '' ? DEFAULT_PORT : Number(port),
        name: `coap://${host}`,
        path: pathname
          .split('/')
          .filter((segment) => segment !== '')
          .map(decodeURIComponent),
      };
    }
  } catch {
    // Both parsers throw; what they say quotes the address.
  }
  throw invalid(
    'token_endpoint must be like coap://issuer.example.com/token, without user, query or fragment',
  );
}

function plainRequest(
  { path }: NamedEndpoint,
  { format, payload }: { readonly format: number; readonly payload: Uint8Array },
  echo: CoapOption | undefined,
): CoapContent {
  return {
    code: coapCode.POST,
    options: [
      ...path.map((segment) => ({ number: coapOption.URI_PATH, value: Buffer.from(segment, 'utf8') })),
      uintOption(coapOption.CONTENT_FORMAT, format),
      ...(echo === undefined ? [] : [echo]),
    ],
    payload,
  };
}

function unprotect(
  { endpoint, context, unprotectedHint = UNKNOWN_CONTEXT }: ProtectedPeer,
  answer: CoapContent,
  binding: Parameters<typeof unprotectResponse>[2],
): CoapContent {
  try {
    return unprotectResponse(context, answer, binding);
  } catch (error) {
    if (!(error instanceof OscoreError)) throw error;
    const code = `${answer.code >> 5}.${String(answer.code & 31).padStart(2, '0')}`;
    throw failed(
      `${endpoint.name} answered ${code} without protection, which anybody may have sent; ${unprotectedHint}`,
    );
  }
}

const echoOf = ({ options }: CoapContent): CoapOption | undefined =>
  options.find(({ number }) => number === coapOption.ECHO);

/** @throws as `processTokenAnswer` does for an answer over HTTP */
function tokenIn(answer: CoapContent, { scope }: TokenRequest): TokenResponse {
  const { code, payload } = answer;
  if (code === coapCode.CREATED) {
    const token = decodeAceResponse(payload);
    if (token === undefined) {
      throw new FleetgateError(
        'token_response_invalid',
        'the answer of the token endpoint is no Bearer token',
      );
    }
    // RFC 6749 §5.1: not said where it is what was asked for.
    return checkTokenResponse({ ...token, scope: token.scope ?? scope });
  }
  if (code === coapCode.TOO_MANY_REQUESTS || code === coapCode.SERVICE_UNAVAILABLE) {
    const seconds = uintValue(answer, coapOption.MAX_AGE);
    throw new IssuerBusyError(
      'the issuer asks to come back later',
      seconds === undefined ? undefined : seconds * 1000,
    );
  }
  const error = decodeAceError(payload);
  if (error !== undefined) {
    throw new OAuthError(error.code, printable(error.description) || `the issuer answered ${error.code}`);
  }
  throw failed(`the token endpoint answered ${code >> 5}.${String(code & 31).padStart(2, '0')}`);
}

const failed = (message: string) => new FleetgateError('token_request_failed', message);
const invalid = (message: string) => new FleetgateError('credentials_invalid', message);
