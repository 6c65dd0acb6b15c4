/** The part of a full map that is dropped at once. */
const DROPPED_PART = 1 / 64;

/** Makes an entry the newest, and drops the oldest where there are more than `max`. */
export function putBounded<Value>(map: Map<string, Value>, key: string, value: Value, max: number): void {
  map.delete(key);
  map.set(key, value);
  dropOldest(map, max);
}

/**
 * Drops the oldest entries of a map that has more than `max`. Of a large one some at once: the oldest is found by a walk
 * past all that were deleted before it, which for each would take longer than all else of a request.
 * @param onDropped told of each
 */
export function dropOldest<Value>(
  map: Map<string, Value>,
  max: number,
  onDropped?: (key: string) => void,
): void {
  if (map.size <= max) return;
  const kept = max - Math.floor(max * DROPPED_PART);
  for (const oldest of map.keys()) {
    if (map.size <= kept) return;
    map.delete(oldest);
    onDropped?.(oldest);
  }
}
