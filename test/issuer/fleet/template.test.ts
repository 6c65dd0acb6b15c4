import { expect, test } from 'vitest';
import { compileTemplate, type DeviceRow, type Template } from '../../../issuer/fleet/template.ts';

const settings = { maxTokenLifetimeSeconds: 3600, tokenClaims: [] };
const NOW_MS = 1_700_000_000_000;

const row = (values: Record<string, string> = {}, more: Partial<DeviceRow> = {}): DeviceRow => ({
  ...more,
  values: new Map(Object.entries(values)),
});

function fill(template: Template, device: DeviceRow, number = 7) {
  const place = { number, uuid: () => '0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f' };
  return compileTemplate(template, settings).fill(device, place, NOW_MS);
}

test('places are filled by values of the row, its number, a UUID and the client id', () => {
  const template: Template = {
    id: 'box-{n:04}-{serial}',
    name: 'Box {client_id}',
    group: 'plant-{plant}',
    labels: { hw: '{hw}', batch: 'b-{uuid}' },
    scope: 'mqtt:publish:plant/{client_id}/#',
    secretLifetimeSeconds: 60,
  };
  expect(fill(template, row({ serial: 'A1', plant: '3', hw: 'rev-a' }))).toMatchObject({
    clientId: 'box-0007-A1',
    name: 'Box box-0007-A1',
    group: 'plant-3',
    labels: { hw: 'rev-a', batch: 'b-0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f' },
    scope: 'mqtt:publish:plant/{client_id}/#',
    secretExpiresAtMs: NOW_MS + 60_000,
  });
});

test('what a row says itself goes before what the template says', () => {
  const template: Template = { id: '{serial}', name: 'n', group: 'g', labels: { hw: '{hw}', line: '1' } };
  const device = row({}, { clientId: 'own', name: 'mine', group: 'h', labels: { hw: 'x', spare: 'y' } });
  expect(fill(template, device)).toMatchObject({
    clientId: 'own',
    name: 'mine',
    group: 'h',
    labels: { hw: 'x', line: '1', spare: 'y' },
  });
});

test('a certificate name is a pattern too', () => {
  const template: Template = {
    id: 'press-{serial}',
    authMethod: 'tls_client_auth',
    tlsClientAuthSanDns: '{client_id}.fleet.example',
  };
  expect(fill(template, row({ serial: '9' }))).toMatchObject({
    tlsClientAuthSanDns: 'press-9.fleet.example',
  });
});

test('a value of a row never gets into a scope', () => {
  expect(() => fill({ id: '{serial}', scope: 'mqtt:publish:{serial}/#' }, row({ serial: '+' }))).toThrow(
    /scope|place/,
  );
});

test.each(['a/b', '+', '#', 'a b', '{n}', 'ä', 'x'.repeat(65), '$SYS'])(
  'a serial of %s makes no client id',
  (serial) => {
    expect(() => fill({ id: '{serial}' }, row({ serial }))).toThrow(/must match/);
  },
);

test('a value that is missing or empty is named', () => {
  expect(() => fill({ id: 'a-{serial}' }, row())).toThrow(/'serial'/);
  expect(() => fill({ id: '{n}', labels: { hw: '{hw}' } }, row({ hw: '' }))).toThrow(
    /labels.hw needs .*'hw'/,
  );
});

test('digits are asked of a number alone', () => {
  expect(fill({ id: 'x-{lot:03}' }, row({ lot: '12' })).clientId).toBe('x-012');
  expect(fill({ id: 'x-{n:03}' }, row(), 12345).clientId).toBe('x-12345');
  expect(() => fill({ id: 'x-{lot:03}' }, row({ lot: 'A' }))).toThrow(/number in 'lot'/);
});

test.each<[Template, RegExp]>([
  [{ id: 'same' }, /same for every device/],
  [{ id: '{client_id}' }, /cannot hold/],
  [{ id: '{n' }, /brace/],
  [{ id: '{}' }, /a place is like/],
  [{ id: '{n:0}' }, /a place is like/],
  [{ id: '{n:016}' }, /1 to 15/],
  [{ id: '{n}', scope: 'mqtt:publish:a/{serial}' }, /./],
  [{ id: '{n}', authMethod: 'password' }, /not supported/],
  [{ id: '{n}', tokenLifetimeSeconds: 4000 }, /3600/],
  [{ id: '{n}', secretLifetimeSeconds: 0 }, /secret_lifetime_seconds/],
  [{ id: '{n}', labels: { 'a b': 'x' } }, /label/],
  [{ id: '{n}', group: '}' }, /group has a brace/],
  [{ id: '{n}', tlsClientAuthSanDns: '{a' }, /tls_client_auth_san_dns/],
])('%j is refused when it is kept', (template, message) => {
  expect(() => compileTemplate(template, settings)).toThrow(message);
});
