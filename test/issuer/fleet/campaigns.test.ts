import { expect, test } from 'vitest';
import { type IssuerFixture, issuerFixture } from '../../support/issuer-fixture.ts';

interface Campaign {
  campaign_id: string;
  campaign_key: string;
  state: string;
  [field: string]: unknown;
}

interface Device {
  client_id: string;
  client_secret: string;
}

let nowMs: number;

/** @param tickMs by how much each look at the clock moves it */
async function fleet(size: number, tickMs = 0) {
  nowMs = Date.now();
  const fixture = await issuerFixture({
    now: () => {
      nowMs += tickMs;
      return nowMs;
    },
  });
  const secrets = new Map<string, string>();
  for (let i = 1; i <= size; i += 1) {
    const { client_id, client_secret } = await fixture.register({ client_id: `d${i}`, group: 'g' });
    secrets.set(client_id, client_secret);
  }
  return { ...fixture, secrets, ...driver(fixture) };
}

function driver({ call, tokenFor }: IssuerFixture) {
  const read = async <T>(answer: Response): Promise<T> => {
    const body = (await answer.json()) as { detail?: string };
    if (!answer.ok) throw Object.assign(new Error(body.detail), { status: answer.status });
    return body as T;
  };
  const path = ({ campaign_id }: Campaign) => `/v1/campaigns/${campaign_id}`;
  return {
    begin: async (plan: Record<string, unknown> = {}) =>
      read<Campaign>(await call('POST', '/v1/campaigns', { selector: 'group=g', batch_size: 2, ...plan })),
    rotate: async (campaign: Campaign, batch: number) =>
      read<{ campaign: Campaign; devices: Device[] }>(
        await call('POST', `${path(campaign)}/batches`, { campaign_key: campaign.campaign_key, batch }),
      ),
    show: async (campaign: Campaign) => read<Campaign>(await call('GET', path(campaign))),
    act: async (campaign: Campaign, name: string, body?: unknown) =>
      read<Campaign>(await call('POST', `${path(campaign)}/${name}`, body)),
    devices: async (campaign: Campaign) =>
      (await read<{ devices: Record<string, unknown>[] }>(await call('GET', `${path(campaign)}/devices`)))
        .devices,
    use: async ({ client_id, client_secret }: Device) =>
      (await tokenFor({ client_id, client_secret })).status,
  };
}

test('batch follows batch when each client has used its new secret, and the old one ends with that', async () => {
  const { begin, rotate, show, use, secrets } = await fleet(3);
  const campaign = await begin();
  expect(campaign).toMatchObject({ state: 'running', selected: 3, batch: 0 });
  const first = await rotate(campaign, 1);
  expect(first.devices.map(({ client_id }) => client_id)).toEqual(['d1', 'd2']);
  expect(first.campaign).toMatchObject({ batch: 1, batch_waiting: 2, confirmed: 0 });
  await expect(rotate(campaign, 2)).rejects.toMatchObject({
    status: 409,
    message: expect.stringMatching(/2 of batch 1/),
  });
  for (const device of first.devices) expect(await use(device)).toBe(200);
  expect(await show(campaign)).toMatchObject({ batch_waiting: 0, confirmed: 2 });
  const second = await rotate(campaign, 2);
  expect(second.devices.map(({ client_id }) => client_id)).toEqual(['d3']);
  expect(await use({ client_id: 'd3', client_secret: secrets.get('d3') as string })).toBe(200);
  for (const device of second.devices) expect(await use(device)).toBe(200);
  const last = await rotate(campaign, 3);
  expect(last).toMatchObject({ devices: [], campaign: { state: 'done', confirmed: 3, failed: 0 } });
  expect(await rotate(campaign, 4)).toMatchObject({ devices: [] });
  nowMs += 120_000;
  expect(await use({ client_id: 'd1', client_secret: secrets.get('d1') as string })).toBe(401);
});

test('a batch that is asked for again is answered with the same secrets', async () => {
  const { begin, rotate } = await fleet(2);
  const campaign = await begin();
  const first = await rotate(campaign, 1);
  expect((await rotate(campaign, 1)).devices).toEqual(first.devices);
});

test('a campaign pauses by itself when too many of a batch do not use their new secret in time', async () => {
  const { begin, rotate, show, act, use, devices, secrets, call } = await fleet(4);
  const campaign = await begin({ confirm_within_seconds: 60, pause_at: 0.5 });
  const [one, two] = (await rotate(campaign, 1)).devices as [Device, Device];
  await use(one);
  expect(await devices(campaign)).toMatchObject([{ state: 'confirmed' }, { state: 'waiting' }]);
  nowMs += 61_000;
  expect(await devices(campaign)).toMatchObject([{ state: 'confirmed' }, { state: 'failed' }]);
  expect(await show(campaign)).toMatchObject({
    state: 'paused',
    reason: '1 of 2 in batch 1 failed',
    confirmed: 1,
    failed: 1,
  });
  await expect(rotate(campaign, 2)).rejects.toMatchObject({
    status: 409,
    message: expect.stringMatching(/paused: 1 of 2/),
  });
  // It was never without: the old secret goes on.
  expect(await use({ client_id: 'd2', client_secret: secrets.get('d2') as string })).toBe(200);
  expect(await act(campaign, 'resume')).toMatchObject({ state: 'running' });
  expect(await show(campaign)).toMatchObject({ state: 'running' });
  const next = await rotate(campaign, 2);
  expect(next.devices.map(({ client_id }) => client_id)).toEqual(['d3', 'd4']);
  expect(await use(two)).toBe(200);
  nowMs += 61_000;
  expect(await show(campaign)).toMatchObject({
    state: 'paused',
    reason: '2 of 2 in batch 2 failed',
    failed: 3,
  });
  const audit = (await (await call('GET', '/v1/audit?action=campaign.pause')).json()) as {
    events: { actor: string }[];
  };
  expect(audit.events.map(({ actor }) => actor)).toEqual(['issuer', 'issuer']);
});

test('fewer failures than that let it go on', async () => {
  const { begin, rotate, use } = await fleet(3);
  const campaign = await begin({ confirm_within_seconds: 60, pause_at: 0.6 });
  const [one] = (await rotate(campaign, 1)).devices as [Device];
  await use(one);
  nowMs += 61_000;
  const { campaign: after } = await rotate(campaign, 2);
  expect(after).toMatchObject({ batch: 2, confirmed: 1, failed: 1, state: 'running' });
});

test.each([
  ['a clock that stands', 0],
  ['a clock that runs', 1],
])('a secret that waits to be used gives way; two that are used fail (%s)', async (_clock, tickMs) => {
  const { begin, rotate, use, call, devices, secrets } = await fleet(2, tickMs);
  await call('POST', '/v1/clients/d1/secrets', { until_new_is_used: true });
  const second = (await (
    await call('POST', '/v1/clients/d2/secrets', { overlap_seconds: 1000 })
  ).json()) as Device;
  await use({ client_id: 'd2', client_secret: secrets.get('d2') as string });
  await use({ ...second, client_id: 'd2' });
  const campaign = await begin({ pause_at: 1 });
  const batch = await rotate(campaign, 1);
  expect(batch.devices.map(({ client_id }) => client_id)).toEqual(['d1']);
  expect(await use(batch.devices[0] as Device)).toBe(200);
  expect(await devices(campaign)).toMatchObject([
    { client_id: 'd1', state: 'confirmed' },
    { client_id: 'd2', state: 'failed', error: 'secret_limit_reached' },
  ]);
});

test('clients without a secret are passed over, and one that is gone is waited for no longer', async () => {
  const { begin, rotate, show, call } = await fleet(2);
  const jwks = { keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }] };
  const made = await call('POST', '/v1/clients', {
    client_id: 'd0',
    group: 'g',
    auth_method: 'private_key_jwt',
    jwks,
  });
  expect(made.status).toBe(201);
  const campaign = await begin();
  const { devices } = await rotate(campaign, 1);
  expect(devices.map(({ client_id }) => client_id)).toEqual(['d1', 'd2']);
  await call('DELETE', '/v1/clients/d1');
  expect(await show(campaign)).toMatchObject({ batch_waiting: 1 });
});

test.each([
  ['another key', { campaign_key: 'x' }, 1],
  ['a batch ahead', {}, 2],
])('%s is refused, and no secret is made', async (_what, change, batch) => {
  const { begin, rotate, devices } = await fleet(2);
  const campaign = await begin();
  await expect(rotate({ ...campaign, ...change }, batch)).rejects.toMatchObject({ status: 409 });
  expect(await devices(campaign)).toEqual([]);
});

test('one that was paused or cancelled begins no batch', async () => {
  const { begin, rotate, act } = await fleet(2);
  const campaign = await begin();
  expect(await act(campaign, 'pause', { reason: 'lunch' })).toMatchObject({
    state: 'paused',
    reason: 'lunch',
  });
  await expect(rotate(campaign, 1)).rejects.toMatchObject({
    message: expect.stringMatching(/paused: lunch/),
  });
  expect(await act(campaign, 'cancel')).toMatchObject({ state: 'cancelled' });
  await expect(act(campaign, 'resume')).rejects.toMatchObject({ status: 409 });
  await expect(rotate(campaign, 1)).rejects.toMatchObject({ message: expect.stringMatching(/cancelled/) });
});

test.each([
  [{ selector: 'a b' }, /no condition/],
  [{ batch_size: 501 }, /batch_size/],
  [{ pause_at: 0 }, /pause_at/],
  [{ pause_at: 1.5 }, /pause_at/],
  [{ confirm_within_seconds: 0 }, /confirm_within_seconds/],
])('a campaign with %j is refused', async (plan, message) => {
  const { begin } = await fleet(0);
  await expect(begin(plan)).rejects.toMatchObject({ status: 400, message: expect.stringMatching(message) });
});
