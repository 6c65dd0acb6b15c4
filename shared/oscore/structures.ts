/**
 * The few CBOR structures that OSCORE hashes and authenticates (RFC 8613 §3.2.1, §5.4). Written by hand: each is an
 * array of byte strings, short texts and small numbers, and one byte that a library spells otherwise makes other keys.
 */

/** COSE's number of AES-CCM-16-64-128, the one algorithm here. */
const AES_CCM_16_64_128 = 10;

/** What a key or IV is derived for. */
export function infoOf(
  id: Uint8Array,
  idContext: Uint8Array | undefined,
  type: 'Key' | 'IV',
  length: number,
): Buffer {
  return array(
    byteString(id),
    idContext === undefined ? Buffer.of(0xf6) : byteString(idContext),
    unsigned(AES_CCM_16_64_128),
    textString(type),
    unsigned(length),
  );
}

/** What is authenticated beside the ciphertext of a request, and of each response to it. */
export function additionalData(requestKid: Uint8Array, requestPartialIv: Uint8Array): Buffer {
  const external = array(
    unsigned(1),
    array(unsigned(AES_CCM_16_64_128)),
    byteString(requestKid),
    byteString(requestPartialIv),
    byteString(new Uint8Array()),
  );
  return array(textString('Encrypt0'), byteString(new Uint8Array()), byteString(external));
}

const array = (...items: readonly Buffer[]) => Buffer.concat([head(4, items.length), ...items]);
const byteString = (bytes: Uint8Array) => Buffer.concat([head(2, bytes.length), bytes]);
const textString = (text: string) => Buffer.concat([head(3, text.length), Buffer.from(text, 'latin1')]);
const unsigned = (value: number) => head(0, value);

/** RFC 8949 §3, for arguments up to 255: no id, context or array here is longer. */
function head(majorType: number, argument: number): Buffer {
  if (argument > 0xff) throw new RangeError('an id or id context is longer than 255 bytes');
  const type = majorType << 5;
  return argument < 24 ? Buffer.of(type | argument) : Buffer.of(type | 24, argument);
}
