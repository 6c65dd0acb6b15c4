import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CoapContent,
  createReplayWindow,
  decodeContent,
  deriveContext,
  encodeContent,
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  type SecurityContext,
  unprotectRequest,
  unprotectResponse,
} from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { nonceOf } from '../../../shared/oscore/security-context.ts';
import { additionalData, infoOf } from '../../../shared/oscore/structures.ts';

// Every value of RFC 8613 Appendix C.1 to C.8; the file says where it was taken from.

interface Derivation {
  label: string;
  masterSecret: string;
  masterSalt: string;
  idContext: string | null;
  senderId: string;
  recipientId: string;
  infoSenderKey: string;
  infoRecipientKey: string;
  infoCommonIV: string;
  senderKey: string;
  recipientKey: string;
  commonIV: string;
  senderNoncePiv0: string;
  recipientNoncePiv0: string;
}

interface Message {
  label: string;
  context: string;
  requestLabel?: string;
  unprotected: string;
  senderSequenceNumber?: number;
  kidContextSent?: boolean;
  newPartialIv?: boolean;
  aad?: string;
  plaintext: string;
  nonce: string;
  option: string;
  ciphertext: string;
  protected: string;
}

const { keyDerivation, messages } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'rfc8613-appendix-c.json'), 'utf8'),
) as { keyDerivation: Derivation[]; messages: Message[] };

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const hex = (of: Uint8Array) => Buffer.from(of).toString('hex');

const contextOf = (label: string): SecurityContext => {
  const given = keyDerivation.find((one) => one.label === label) as Derivation;
  return deriveContext({
    masterSecret: bytes(given.masterSecret),
    masterSalt: bytes(given.masterSalt),
    senderId: bytes(given.senderId),
    recipientId: bytes(given.recipientId),
    idContext: given.idContext === null ? undefined : bytes(given.idContext),
  });
};

/** Behind version, type, token length, code, message id and a token. */
function contentOf(message: string): { head: Buffer; content: CoapContent } {
  const whole = bytes(message);
  const end = 4 + ((whole[0] as number) & 0x0f);
  return {
    head: whole.subarray(0, end),
    content: { code: whole[1] as number, ...decodeContent(whole.subarray(end)) },
  };
}

function messageOf(head: Buffer, content: CoapContent): string {
  const changed = Buffer.from(head);
  changed[1] = content.code;
  return hex(Buffer.concat([changed, encodeContent(content)]));
}

test('all of them are here', () => {
  expect(keyDerivation).toHaveLength(6);
  expect(messages.map(({ label }) => label.slice(0, 3))).toEqual(['C.4', 'C.5', 'C.6', 'C.7', 'C.8']);
});

test.each(keyDerivation)('keys, IV and nonces of $label', (given) => {
  const context = contextOf(given.label);
  const idContext = given.idContext === null ? undefined : bytes(given.idContext);
  expect(hex(infoOf(bytes(given.senderId), idContext, 'Key', 16))).toBe(given.infoSenderKey);
  expect(hex(infoOf(bytes(given.recipientId), idContext, 'Key', 16))).toBe(given.infoRecipientKey);
  expect(hex(infoOf(new Uint8Array(), idContext, 'IV', 13))).toBe(given.infoCommonIV);
  expect(hex(context.senderKey.export())).toBe(given.senderKey);
  expect(hex(context.recipientKey.export())).toBe(given.recipientKey);
  expect(hex(context.commonIv)).toBe(given.commonIV);
  expect(hex(nonceOf(context, context.senderId, bytes('00')))).toBe(given.senderNoncePiv0);
  expect(hex(nonceOf(context, context.recipientId, bytes('00')))).toBe(given.recipientNoncePiv0);
});

const requests = messages.filter(({ requestLabel }) => requestLabel === undefined);
const responses = messages.filter(({ requestLabel }) => requestLabel !== undefined);

describe.each(requests)('$label', (given) => {
  const { head, content } = contentOf(given.unprotected);
  const client = contextOf(given.context);
  const { message, binding } = protectRequest(client, content, given.senderSequenceNumber as number, {
    sendsIdContext: given.kidContextSent === true,
  });

  test('is protected to the byte', () => {
    expect(hex(additionalData(binding.kid, binding.partialIv))).toBe(given.aad);
    expect(hex(nonceOf(client, client.senderId, binding.partialIv))).toBe(given.nonce);
    expect(hex(message.payload)).toBe(given.ciphertext);
    expect(messageOf(head, message)).toBe(given.protected);
  });

  test('is read by the other side', () => {
    const server = contextOf(given.context.replace(/1 client$/, '2 server'));
    const received = contentOf(given.protected).content;
    const { request, sequenceNumber } = unprotectRequest(server, received, createReplayWindow());
    expect(sequenceNumber).toBe(given.senderSequenceNumber);
    expect(messageOf(head, request)).toBe(given.unprotected);
  });
});

describe.each(responses)('$label', (given) => {
  const { head, content } = contentOf(given.unprotected);
  const asked = requests.find(({ label }) => label === given.requestLabel) as Message;
  const { kid, partialIv } = oscoreOptionOf(contentOf(asked.protected).content);
  const binding = { kid: kid as Uint8Array, partialIv: partialIv as Uint8Array };

  test('is protected to the byte', () => {
    const sequence = given.newPartialIv === true ? given.senderSequenceNumber : undefined;
    const message = protectResponse(contextOf(given.context), content, binding, sequence);
    expect(hex(message.payload)).toBe(given.ciphertext);
    expect(messageOf(head, message)).toBe(given.protected);
  });

  test('is read by who asked', () => {
    const received = contentOf(given.protected).content;
    const response = unprotectResponse(contextOf(asked.context), received, binding);
    expect(messageOf(head, response)).toBe(given.unprotected);
  });
});
