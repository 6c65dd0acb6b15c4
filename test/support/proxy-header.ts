/** A PROXY header of version 2 (HAProxy, `proxy-protocol.txt` §2.2), well-formed or not. */
export function binaryHeader(versionAndCommand: number, family: number, addresses: Uint8Array): Buffer {
  const fixed = Buffer.from([...Buffer.from('\r\n\r\n\0\r\nQUIT\n'), versionAndCommand, family, 0, 0]);
  fixed.writeUInt16BE(addresses.length, 14);
  return Buffer.concat([fixed, addresses]);
}
