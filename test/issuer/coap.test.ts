import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { coapTransport } from '../../agent/index.ts';
import { coapFixture } from '../support/coap-fixture.ts';

const never = new AbortController().signal;

test('a device gets a token over CoAP', async () => {
  const fixture = await coapFixture();
  const credentials = await fixture.device('sensor-1');
  const answer = await coapTransport(credentials)({}, never);
  expect(decodeJwt(answer.access_token)).toMatchObject({ iss: fixture.issuer.url, client_id: 'sensor-1' });
  expect(answer).toMatchObject({ token_type: 'Bearer', expires_in: 900, scope: 'telemetry.write' });
});
