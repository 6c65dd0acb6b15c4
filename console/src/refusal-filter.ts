import type { Refusal } from './live.ts';

/** Narrows to one client alone: of `sensor-1` not those of `sensor-10`. */
const ONE_CLIENT = 'client=';

/** The text that finds the refusals of one client. */
export const ofClient = (id: string) => `${ONE_CLIENT}${id}`;

/** The hash of the Refusals page; `find` is a part of reason, client, topic or action, or `client=ID`. */
export function refusalsHash(find: string): string {
  return find === '' ? '#/refusals' : `#/refusals?${new URLSearchParams({ find })}`;
}

/** What {@link refusalsHash} of the page's address was made of. */
export function findInAddress(): string {
  return new URLSearchParams(location.hash.split('?')[1]).get('find') ?? '';
}

export function fits(refusal: Refusal, find: string): boolean {
  const { reason, clientId = '', presentedClientId = '', topic = '', action } = refusal;
  const words = find.trim();
  if (words.startsWith(ONE_CLIENT)) return isOf(refusal, words.slice(ONE_CLIENT.length));
  return [reason, clientId, presentedClientId, topic, action].some((text) =>
    text.toLowerCase().includes(words.toLowerCase()),
  );
}

/** Whether it is of that client; before a token was verified, of who says it is. */
export function isOf({ clientId, presentedClientId }: Refusal, id: string): boolean {
  return (clientId ?? presentedClientId) === id;
}
