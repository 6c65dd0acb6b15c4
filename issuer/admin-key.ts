import { randomBytes } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

/** At least 256 bits in base64url. A shorter key could be guessed, and nothing slows guessing down. */
const adminKeyPattern = /^[A-Za-z0-9_-]{43,256}$/;

/**
 * The admin API key in `file`; made at the first start, with mode 0600: 256 random bits, base64url.
 * @throws FleetgateError `key_file_invalid` when others may read it or it holds no such key
 */
export function readOrCreateAdminKey(file: string): string {
  let content = readPrivateFile(file);
  if (content === undefined) {
    createPrivateFile(file, `${randomBytes(32).toString('base64url')}\n`);
    content = readPrivateFile(file);
  }
  const key = content?.toString('utf8').trim() ?? '';
  if (!adminKeyPattern.test(key)) {
    throw new FleetgateError(
      'key_file_invalid',
      `${file} does not hold an admin key (at least 43 characters of base64url); delete it and start again to make one`,
    );
  }
  return key;
}
