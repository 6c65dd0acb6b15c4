import type { VerifiedToken } from '@fleetgate/verifier';
import { clientKey } from './client-key.ts';

/** Of each session that is kept, live or not, the token it had last: whose it is, and what it may receive. */
export interface KeptSessions {
  get(mqttClientId: string): VerifiedToken | undefined;
  /** The session of this client id is kept from now on, or has another token of the same client. */
  keep(mqttClientId: string, token: VerifiedToken): void;
  forget(mqttClientId: string): void;
  /** How many one client has. */
  countOf(client: { readonly clientId: string; readonly issuer: string }): number;
}

export function createKeptSessions(): KeptSessions {
  const tokens = new Map<string, VerifiedToken>();
  const counts = new Map<string, number>();

  function count(token: VerifiedToken, change: number): void {
    const key = clientKey(token);
    const now = (counts.get(key) ?? 0) + change;
    if (now > 0) counts.set(key, now);
    else counts.delete(key);
  }

  function forget(mqttClientId: string): void {
    const token = tokens.get(mqttClientId);
    if (token === undefined) return;
    tokens.delete(mqttClientId);
    count(token, -1);
  }

  return Object.freeze({
    get: (mqttClientId: string) => tokens.get(mqttClientId),
    keep(mqttClientId: string, token: VerifiedToken) {
      forget(mqttClientId);
      tokens.set(mqttClientId, token);
      count(token, 1);
    },
    forget,
    countOf: (client: { clientId: string; issuer: string }) => counts.get(clientKey(client)) ?? 0,
  });
}
