import { secretVariable } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const files = new Map([
  ['/run/secrets/a', 'canary'],
  ['/run/secrets/line', 'canary\n'],
  ['/run/secrets/windows', 'canary\r\n'],
  ['/run/secrets/lines', 'canary \n\n'],
  ['/run/secrets/empty', '\n'],
]);

function read(file: string): string {
  const text = files.get(file);
  if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
  return text;
}

test.each([
  ['in the variable', { SECRET: 'canary' }, 'canary'],
  ['in the variable, where a line end is a part of it', { SECRET: 'canary\n' }, 'canary\n'],
  ['in a file', { SECRET_FILE: '/run/secrets/a' }, 'canary'],
  ['in a file that ends its line', { SECRET_FILE: '/run/secrets/line' }, 'canary'],
  ['in a file of Windows', { SECRET_FILE: '/run/secrets/windows' }, 'canary'],
  ['with white space of its own', { SECRET_FILE: '/run/secrets/lines' }, 'canary \n'],
  ['nowhere', { SECRETS: 'x' }, undefined],
])('a secret %s', (_where, environment, secret) => {
  expect(secretVariable('SECRET', environment, read)).toBe(secret);
});

test.each([
  ['both are set', { SECRET: 'canary', SECRET_FILE: '/run/secrets/a' }, /both SECRET and SECRET_FILE/],
  [
    'both are set, one to nothing',
    { SECRET: '', SECRET_FILE: '/run/secrets/a' },
    /both SECRET and SECRET_FILE/,
  ],
  ['the file is missing', { SECRET_FILE: '/nowhere' }, /SECRET_FILE: cannot read '\/nowhere' \(ENOENT\)/],
  ['it names no file', { SECRET_FILE: '' }, /SECRET_FILE: cannot read ''/],
  ['the file is empty', { SECRET_FILE: '/run/secrets/empty' }, /SECRET_FILE: \/run\/secrets\/empty is empty/],
])('%s: an error that names the mend', (_what, environment, message) => {
  const refused = () => secretVariable('SECRET', environment, read);
  expect(refused).toThrow(
    expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(message) }),
  );
  expect(refused).not.toThrow(/canary/);
});
