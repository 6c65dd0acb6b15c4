/** Bytes of one piece of memory: a hundred answers with a token. */
const PIECE_BYTES = 65_536;

/**
 * Room for answers, which are kept for some minutes and given up in the order they were made: many in one piece of
 * memory, which goes with the last of them. A piece for each takes longer to get and to give up than its answer does to
 * be written; of Node's pool most would be other things, and kept with them.
 */
export function answerRoom(): (bytes: number) => Buffer {
  let piece = Buffer.alloc(0);
  let used = 0;
  return (bytes) => {
    if (used + bytes > piece.length) {
      piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
      used = 0;
    }
    used += bytes;
    return piece.subarray(used - bytes, used);
  };
}
