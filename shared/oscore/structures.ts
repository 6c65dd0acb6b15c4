import { encodeCbor } from '../cbor.ts';

/** COSE's number of AES-CCM-16-64-128, the one algorithm here. */
const AES_CCM_16_64_128 = 10;

const algorithms = [AES_CCM_16_64_128];
const nothing = new Uint8Array();

/** What a key or IV is derived for (RFC 8613 §3.2.1). */
export function infoOf(
  id: Uint8Array,
  idContext: Uint8Array | undefined,
  type: 'Key' | 'IV',
  length: number,
): Buffer {
  return encodeCbor([id, idContext ?? null, AES_CCM_16_64_128, type, length]);
}

/** What is authenticated beside the ciphertext of a request, and of each response to it (RFC 8613 §5.4). */
export function additionalData(requestKid: Uint8Array, requestPartialIv: Uint8Array): Buffer {
  const external = encodeCbor([1, algorithms, requestKid, requestPartialIv, nothing]);
  return encodeCbor(['Encrypt0', nothing, external]);
}
