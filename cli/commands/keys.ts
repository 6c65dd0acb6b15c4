import type { SigningKeyView } from '../admin-client.ts';
import { type Format, formatJson, formatTable } from '../output.ts';

/** Signing keys as `--format` asks. */
export function formatKeys(keys: readonly SigningKeyView[], format: Format): string {
  if (format === 'json') return formatJson(keys);
  const rows = keys.map((key) => ({ ...key, next_step: nextStep(key) }));
  return formatTable(['state', 'algorithm', 'kid', 'created_at', 'next_step'], rows);
}

/** What becomes of a key by itself. */
function nextStep({ activates_at, published_until }: SigningKeyView): string {
  if (activates_at !== undefined) return `signs from ${activates_at}`;
  return published_until === undefined ? '' : `leaves at ${published_until}`;
}

/** What a rotation that was asked for came to, in words. */
export function describeRotation(keys: readonly SigningKeyView[], isDone: boolean): string {
  const next = keys.find(({ state }) => state === 'next');
  if (isDone) return `signing with ${keys[0]?.kid}`;
  return `signing with ${next?.kid} from ${next?.activates_at} on, when verifiers have it; --now does not wait`;
}

/** What the retirement of a key came to, in words. */
export function describeRetirement(
  kid: string,
  keys: readonly SigningKeyView[],
  { isRepeated, compromised }: { isRepeated: boolean; compromised?: boolean },
): string {
  if (isRepeated) return 'retired already; nothing to do';
  const signing = `signing with ${keys.find(({ state }) => state === 'active')?.kid}`;
  return compromised === true
    ? `${kid} is published no longer and all it has signed is revoked: brokers end those sessions, devices fetch new tokens; ${signing}`
    : `${kid} signs no more; what it has signed stays good until it expires; ${signing}`;
}
