import { startBroker } from '@fleetgate/broker';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RevocationListener } from '../../broker/revocation-source.ts';
import { testIssuer } from '../support/broker-tokens.ts';

test('a running broker says why it should get no new connections', async () => {
  const issuer = testIssuer();
  let feed: RevocationListener | undefined;
  const source = (listener: RevocationListener) => {
    feed = listener;
    return () => {};
  };
  const revocations = { source, maxAwaySeconds: 0.01 };
  const broker = await startBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks }, revocations }],
    listeners: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
  });
  onTestFinished(() => broker.close());
  await vi.waitFor(() => expect(broker.problems()).toEqual([expect.stringContaining(issuer.name)]));
  feed?.current();
  expect(broker.problems()).toEqual([]);
  const closed = broker.close();
  expect(broker.problems()).toEqual(['the broker is closing']);
  await closed;
});
