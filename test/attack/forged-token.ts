import { expect } from 'vitest';
import type { TestBroker } from '../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../support/broker-raw-client.ts';
import { base64url, type TestIssuer } from '../support/broker-tokens.ts';
import { A, victim } from './victim.ts';

/** Nobody gets in with `token` as device A, for `reason`, and device A notices nothing. */
export async function isRefused(
  broker: TestBroker,
  token: string | Uint8Array,
  reason: string,
): Promise<void> {
  const device = await victim(broker);
  const before = broker.refusals.length;
  const client = await broker.raw();
  const connect = connectPacket(A, '', { password: Buffer.from(token as string) });
  expect(await connackOf(client, connect)).toBe(4);
  await client.closed;
  expect(broker.refusals.slice(before)).toMatchObject([{ action: 'connect', reason, returnCode: 4 }]);
  await device.unharmed();
}

/** Header and payload as the issuer would write them for device A; no key is needed to copy them. */
export function inputOf(
  broker: TestBroker,
  header: Record<string, unknown> = {},
  issuer: TestIssuer = broker.issuer,
) {
  const genuine = issuer.token({ clientId: A, scope: [`mqtt:subscribe:devices/${A}/#`], header });
  return genuine.split('.').slice(0, 2).join('.');
}

/** A token of an input and any signature. */
export const signed = (input: string, signature: Uint8Array) => `${input}.${base64url(signature)}`;
