import { describe, expect, test } from 'vitest';
import { explained } from '../../cli/explained.ts';
import { fleetgateCommand, runCommand } from '../support/fleetgate-process.ts';

const explain = (...args: string[]) =>
  runCommand(process.execPath, [...fleetgateCommand, 'explain', ...args]);

describe('fleetgate explain', () => {
  test('says what a code means', async () => {
    const { code, stdout, stderr } = await explain('no_rule');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^code {2}no_rule\nkind {2}refusal\ntext {2}no rule of the token's scopes matches;/,
    );
  });

  test('says what a CONNACK means', async () => {
    expect((await explain('5')).stdout).toContain('this is not allowed');
    expect((await explain('6')).code).toBe(2);
  });

  test('lists them all as JSON', async () => {
    const { code, stdout } = await explain('--format', 'json');
    expect([code, JSON.parse(stdout)]).toEqual([0, explained]);
  });

  test.each([
    ['no_rules', /there is no code 'no_rules'; did you mean 'no_rule'\?/],
    ['x', /there is no code 'x'; 'fleetgate explain' lists them/],
  ])('%s is refused, with the nearest', async (code, said) => {
    expect(await explain(code)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(said) });
  });

  test.each([
    ['token_malformed', 'client secret'],
    ['client_id_mismatch', '-i of mosquitto_pub'],
    ['user_name_mismatch', '-u of mosquitto_pub'],
    ['protocol_refused', '-V mqttv311'],
    ['invalid_client', 'fleetgate audit list --client ID'],
  ])('%s says what to do', (code, words) => {
    expect(explained.find((one) => one.code === code)?.text).toContain(words);
  });

  test('prints no Markdown', () => {
    for (const { code, text } of explained)
      expect([code, text]).toEqual([code, expect.not.stringMatching(/`|\]\(/)]);
  });
});
