import { randomUUID } from 'node:crypto';
import {
  ACE_CBOR,
  addressKey,
  CBOR,
  type CoapContent,
  type CoapOption,
  coapCode,
  coapOption,
  createAttemptRate,
  createReplayWindow,
  decodeAceRequest,
  encodeAceError,
  encodeAceResponse,
  encodeContent,
  FleetgateError,
  MAX_ID_BYTES,
  OscoreError,
  type OscoreProblem,
  oscoreOptionOf,
  protectResponse,
  type RequestBinding,
  type TokenResponse,
  uintOption,
  uintValue,
  unprotectRequest,
  uriPathOf,
} from '@fleetgate/shared';
import type { Logger } from 'pino';
import type { Caller } from '../audit.ts';
import { SlowDownError } from '../limited-requests.ts';
import type { Issuer } from '../open-issuer.ts';
import type { TokenRequest } from '../token-request.ts';
import type { ContextOwner, DeviceContext, DeviceContexts } from './contexts.ts';
import { readEnrolling, writeEnrolled, writeEnrollmentError } from './enroll-wire.ts';
import { trackFreshness } from './freshness.ts';

export interface CoapEndpointOptions {
  readonly issuer: Pick<Issuer, 'issue' | 'enroll' | 'url' | 'coapTokenEndpoint' | 'defaultAudience'>;
  readonly contexts: DeviceContexts;
  readonly log?: Logger | undefined;
  readonly monotonicMs?: () => number;
}

/** Answers one protected request; unset for silence. Never rejects. */
export type CoapEndpoint = (message: CoapContent, address: string) => Promise<CoapContent | undefined>;

/**
 * Characters of a token: with the rest of the answer below the 1024 bytes that go without blocks (RFC 7252 §4.6). The
 * scope stands in it twice, in base64url, so the longer it is the more room there is in the answer.
 */
const MAX_COAP_TOKEN_LENGTH = 840;

/** How long a device waits that the issuer cannot serve now. */
const RETRY_SECONDS = 5;

/** When a device that waits for approval may come again. */
const APPROVAL_RETRY_SECONDS = 30;

/** Unprotected, and so a hint that anybody may have sent (RFC 8613 §8.2). */
const codeOfProblem: Readonly<Record<OscoreProblem, number>> = {
  malformed: coapCode.BAD_OPTION,
  replayed: coapCode.UNAUTHORIZED,
  not_decrypted: coapCode.BAD_REQUEST,
};

/**
 * `POST /token` inside OSCORE (RFC 9200 §5.8, RFC 9203 §5), and `POST /enroll` of devices of a group: the context says who
 * asks, and the same core as over HTTP answers. After a start the first request of each context is sent back once for an
 * Echo, and each one is where other issuers may have served it.
 */
export function coapEndpoint(options: CoapEndpointOptions): CoapEndpoint {
  const { contexts, log, monotonicMs = () => performance.now() } = options;
  const freshness = trackFreshness(monotonicMs);
  const attempts = createAttemptRate({ monotonicMs });

  /** The request inside, or the answer that it gets without being looked at. */
  async function open(message: CoapContent, device: DeviceContext): Promise<Opened> {
    const { context, contextId } = device;
    const window = freshness.windowOf(contextId);
    if (window !== undefined && !contexts.isShared()) return unprotectRequest(context, message, window);
    const opened = unprotectRequest(context, message, createReplayWindow());
    const { request, binding, sequenceNumber } = opened;
    const echo = request.options.find(({ number }) => number === coapOption.ECHO);
    if (echo !== undefined && freshness.isEcho(contextId, echo.value)) {
      // What another issuer has served is newer than all in this window, but has no Echo of this one.
      if (window !== undefined) return unprotectRequest(context, message, window);
      freshness.begin(contextId, sequenceNumber);
      return opened;
    }
    // It may be a replay, so its nonce may have been used for an answer: this one has a number of its own.
    const challenge = respond(coapCode.UNAUTHORIZED, new Uint8Array(), [
      { number: coapOption.ECHO, value: freshness.echoFor(contextId) },
    ]);
    const own = await contexts.nextSequenceNumber();
    return { answer: protectResponse(context, challenge, binding, own) };
  }

  async function serve(message: CoapContent, address: string): Promise<CoapContent | undefined> {
    const { kid = new Uint8Array(), kidContext } = oscoreOptionOf(message);
    // Of nobody, and so long that many of them would fill the memory of who failed.
    if (kid.length > MAX_ID_BYTES) return fitting(message, hint(coapCode.UNAUTHORIZED));
    const from = [addressKey(address), `kid ${Buffer.from(kid).toString('hex')}`] as const;
    // Silence: whoever guesses, or has made up the address, is told nothing.
    if (attempts.waitMs(...from) > 0) return undefined;
    const device = await contexts.find(kid, kidContext);
    if (device === undefined) {
      attempts.note(...from, false);
      return fitting(message, hint(coapCode.UNAUTHORIZED));
    }
    let opened: Opened;
    try {
      opened = await open(message, device);
    } catch (error) {
      if (!(error instanceof OscoreError)) throw error;
      // A replay is made by who has seen the device, not by who guesses; it costs no more than this.
      if (error.problem === 'not_decrypted') attempts.note(...from, false);
      log?.info(
        { event: 'coap_refused', problem: error.problem, client: nameOf(device.of), address },
        'a request over CoAP was refused',
      );
      return fitting(message, hint(codeOfProblem[error.problem]));
    }
    // It may be a replay, which is no proof that the device is at this address.
    if ('answer' in opened) return fitting(message, opened.answer);
    attempts.note(...from, true);
    const answer = await answerTo(opened.request, device.of, address, options);
    return protectResponse(device.context, answer, opened.binding);
  }

  return async (message, address) => {
    try {
      return await serve(message, address);
    } catch (error) {
      if (error instanceof OscoreError) return fitting(message, hint(codeOfProblem[error.problem]));
      // The device asks again: nothing was issued that it could have got.
      log?.error({ event: 'coap_failed', err: error, address }, 'a request over CoAP could not be served');
      return undefined;
    }
  };
}

type Opened =
  | { readonly request: CoapContent; readonly binding: RequestBinding }
  | { readonly answer: CoapContent };

const nameOf = (owner: ContextOwner) =>
  owner.kind === 'client' ? owner.clientId : `enrollment ${owner.enrollmentId}`;

/** What the device is told, to be protected. */
async function answerTo(
  request: CoapContent,
  owner: ContextOwner,
  address: string,
  options: CoapEndpointOptions,
): Promise<CoapContent> {
  const isEnrolling = owner.kind === 'enrollment';
  if (uriPathOf(request) !== (isEnrolling ? 'enroll' : 'token')) return respond(coapCode.NOT_FOUND);
  if (request.code !== coapCode.POST) return respond(coapCode.METHOD_NOT_ALLOWED);
  const unknown = request.options.find(({ number }) => number % 2 === 1 && number !== coapOption.URI_PATH);
  if (unknown !== undefined) return respond(coapCode.BAD_OPTION);
  const format = uintValue(request, coapOption.CONTENT_FORMAT);
  if (format !== undefined && format !== (isEnrolling ? CBOR : ACE_CBOR)) {
    return respond(coapCode.UNSUPPORTED_CONTENT_FORMAT);
  }
  const caller = { address, requestId: randomUUID() };
  try {
    return isEnrolling
      ? await enrolled(request, owner, caller, options)
      : await issued(request, owner, caller, options);
  } catch (error) {
    if (!(error instanceof FleetgateError)) {
      options.log?.error(
        { event: 'coap_failed', err: error, ...caller },
        'a request over CoAP could not be served',
      );
      return unavailable(RETRY_SECONDS);
    }
    return refusalOf(error, isEnrolling);
  }
}

async function issued(
  { payload }: CoapContent,
  { clientId, secretId }: ContextOwner & { readonly kind: 'client' },
  caller: Caller,
  { issuer }: CoapEndpointOptions,
): Promise<CoapContent> {
  const asked = decodeAceRequest(payload);
  const token = await issuer.issue({
    caller,
    clientId: asked.clientId,
    clientSecret: undefined,
    authorization: undefined,
    oscore: { clientId, secretId },
    grantType: asked.grantType,
    scope: asked.scope,
    audience: asked.audience === undefined ? [] : asked.audience.split(' '),
    maxTokenLength: MAX_COAP_TOKEN_LENGTH,
  } satisfies TokenRequest);
  return respond(coapCode.CREATED, encodeAceResponse(token, scopeToTell(token, asked.scope)), [
    uintOption(coapOption.CONTENT_FORMAT, ACE_CBOR),
  ]);
}

/** A device of a group gets its own context, or comes again after the time that Max-Age says. */
async function enrolled(
  { payload }: CoapContent,
  proven: ContextOwner & { readonly kind: 'enrollment' },
  caller: Caller,
  { issuer }: CoapEndpointOptions,
): Promise<CoapContent> {
  const answer = await issuer.enroll({ proven, device: readEnrolling(payload), caller });
  const format = uintOption(coapOption.CONTENT_FORMAT, CBOR);
  const isIn = answer.status === 'enrolled';
  return respond(
    isIn ? coapCode.CREATED : coapCode.CONTENT,
    writeEnrolled(answer, issuer),
    [format],
    isIn ? 0 : APPROVAL_RETRY_SECONDS,
  );
}

/** RFC 6749 §5.1: said where it is not what was asked for. */
function scopeToTell({ scope = '' }: TokenResponse, asked: string | undefined): string | undefined {
  return scope === asked ? undefined : scope;
}

function refusalOf(error: FleetgateError, isEnrolling: boolean): CoapContent {
  if (error instanceof SlowDownError) {
    return respond(coapCode.TOO_MANY_REQUESTS, new Uint8Array(), [], error.retryAfterSeconds);
  }
  if (['temporarily_unavailable', 'registry_unavailable'].includes(error.code))
    return unavailable(RETRY_SECONDS);
  if (isEnrolling) {
    return respond(coapCode.FORBIDDEN, writeEnrollmentError(error), [
      uintOption(coapOption.CONTENT_FORMAT, CBOR),
    ]);
  }
  const code = error.code === 'invalid_client' ? coapCode.UNAUTHORIZED : coapCode.BAD_REQUEST;
  return respond(code, encodeAceError(error.code, error.message), [
    uintOption(coapOption.CONTENT_FORMAT, ACE_CBOR),
  ]);
}

/** Max-Age says when to come back (RFC 7252 §5.9.3.4). */
const unavailable = (seconds: number) => respond(coapCode.SERVICE_UNAVAILABLE, new Uint8Array(), [], seconds);

function respond(
  code: number,
  payload: Uint8Array = new Uint8Array(),
  options: readonly CoapOption[] = [],
  maxAgeSeconds = 0,
): CoapContent {
  return { code, options: [...options, uintOption(coapOption.MAX_AGE, maxAgeSeconds)], payload };
}

/** Who has proven nothing gets no more bytes than came, since the address may be made up: else silence. */
function fitting(message: CoapContent, answer: CoapContent): CoapContent | undefined {
  return encodeContent(answer).length <= encodeContent(message).length ? answer : undefined;
}

/** Unprotected; of one size, whatever was wrong. */
const hint = (code: number): CoapContent => respond(code);
