import { decodeJwt } from 'jose';
import { describe, expect, test } from 'vitest';
import type { TokenTarget } from '../../issuer/token-targets.ts';
import { checkTokenTargets } from '../../issuer/token-targets.ts';
import { issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';

const target = (audience: string, claim = 'extra'): TokenTarget => ({
  audience,
  claim,
  valueFor: ({ client_id, scp }) =>
    scp.includes('odd') ? { refused: "scope odd: it's odd" } : { value: [client_id, ...scp] },
});

async function claimsOf(answer: Response): Promise<Record<string, unknown>> {
  expect(answer.status).toBe(200);
  const { access_token } = (await answer.json()) as { access_token: string };
  return decodeJwt(access_token);
}

const both = { scope: 's', audience: ['mqtt', 'rabbit'] };

describe('over HTTP', () => {
  test('a token for the audience of a target holds its claim, also beside others, and no other token does', async () => {
    const fixture = await issuerFixture({ tokenTargets: [target('rabbit')] });
    const client = await fixture.register({ client_id: 'a', ...both });
    const held = async (audience?: string) =>
      (await claimsOf(await fixture.tokenFor(client, audience === undefined ? {} : { audience })))['extra'];
    expect([await held('rabbit'), await held(), await held('mqtt')]).toEqual([
      ['a', 's'],
      ['a', 's'],
      undefined,
    ]);
  });

  test('what a target cannot hold is refused with its reason, and recorded; for another audience it is given', async () => {
    const fixture = await issuerFixture({ tokenTargets: [target('rabbit')] });
    const client = await fixture.register({ client_id: 'a', ...both, scope: 's odd' });
    const answer = await fixture.tokenFor(client, { audience: 'rabbit' });
    expect([answer.status, await answer.json()]).toEqual([
      400,
      {
        error: 'invalid_scope',
        error_description: "no token for audience 'rabbit' can hold this: scope odd: it's odd",
      },
    ]);
    const { events } = (await (
      await fixture.call('GET', '/v1/audit?target=a&action=token.issue')
    ).json()) as {
      events: { result: string }[];
    };
    expect(events.map(({ result }) => result)).toEqual(['invalid_scope']);
    expect((await fixture.tokenFor(client, { audience: 'mqtt' })).status).toBe(200);
    expect((await fixture.tokenFor(client, { audience: 'rabbit', scope: 's' })).status).toBe(200);
  });

  test('a token for two targets that read one claim is refused', async () => {
    const fixture = await issuerFixture({ tokenTargets: [target('mqtt'), target('rabbit')] });
    const client: RegisteredClient = await fixture.register({ client_id: 'a', ...both });
    const answer = await fixture.tokenFor(client);
    expect(await answer.json()).toMatchObject({ error: 'invalid_target' });
    expect((await fixture.tokenFor(client, { audience: 'rabbit' })).status).toBe(200);
  });

  test('a claim that makes the token too long is refused, with what to do', async () => {
    const long = { ...target('rabbit'), valueFor: () => ({ value: ['x'.repeat(8000)] }) };
    const fixture = await issuerFixture({ tokenTargets: [long] });
    const client = await fixture.register({ client_id: 'a', ...both });
    const answer = await fixture.tokenFor(client);
    expect(await answer.json()).toMatchObject({
      error: 'invalid_scope',
      error_description: expect.stringContaining('ask for fewer scopes'),
    });
  });

  test('a target takes the place of no claim of ours', async () => {
    const fixture = await issuerFixture({ tokenTargets: [target('rabbit')] });
    const client = await fixture.register({ client_id: 'a', ...both });
    const claims = await claimsOf(await fixture.tokenFor(client));
    expect(claims).toMatchObject({ sub: 'a', scope: 's', scp: ['s'], aud: ['mqtt', 'rabbit'] });
  });
});

describe('targets that no issuer starts with', () => {
  test.each([
    ['a reserved claim', [target('a', 'scope')], []],
    ['a claim that metadata gives', [target('a', 'site')], ['site']],
    ['an audience twice', [target('a', 'x'), target('a', 'y')], []],
    ['an empty audience', [target('')], []],
    ['17 of them', Array.from({ length: 17 }, (_, i) => target(`a${i}`)), []],
  ])('%s', (_rule, targets, tokenClaims) => {
    expect(() => checkTokenTargets(targets, tokenClaims)).toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    );
  });
});
