import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import { APP_DATABASE, openAppFiles } from '../apps/app-files.ts';
import { auditEvent, issuerActor } from '../audit.ts';
import { groupKeyLabel } from '../fleet/enrollments.ts';
import { contextLabel, type StoredContext } from '../oscore-context.ts';
import { openExistingRegistry } from '../registry/open-registry.ts';
import type { Registry } from '../registry/registry.ts';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';
import { type EncryptionKeySource, type KeyEncryption, openKeyEncryption } from './key-encryption.ts';

export interface ReencryptOptions {
  readonly database: string;
  /** Those of the apps in it are encrypted under the same key. */
  readonly appsDirectory?: string;
  /** The key in use. */
  readonly from: EncryptionKeySource;
  /** The key from now on; a file of it is made if it is missing. */
  readonly to: EncryptionKeySource;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
}

/**
 * Encrypts the private signing keys, the OSCORE contexts and the group keys under another key; how many were not under
 * it before. For when no issuer runs on the database. After it was broken off it is run again: what is done already is left as it is.
 * @throws FleetgateError `key_file_invalid` when a signing key is under neither, `registry_unavailable`,
 *   `registry_schema_newer`
 */
export async function reencryptSigningKeys(options: ReencryptOptions): Promise<number> {
  const { database, appsDirectory, now = Date.now } = options;
  const from = openKeyEncryption(options.from, true);
  const to = openKeyEncryption(options.to, false);
  let reencrypted = 0;
  for (const file of [database, ...appDatabases(appsDirectory)]) {
    const registry = await openExistingRegistry(file);
    try {
      const encryptions = { from, to, atMs: now() };
      reencrypted += await reencryptKeys(registry, encryptions);
      reencrypted += await reencryptContexts(registry, encryptions);
      reencrypted += await reencryptGroupKeys(registry, encryptions);
    } finally {
      await registry.close();
    }
  }
  return reencrypted;
}

function appDatabases(directory: string | undefined): string[] {
  if (directory === undefined || !existsSync(directory)) return [];
  const files = openAppFiles(directory);
  return files.list().appIds.map((appId) => join(files.directory(appId), APP_DATABASE));
}

interface Encryptions {
  readonly from: KeyEncryption;
  readonly to: KeyEncryption;
  readonly atMs: number;
}

async function reencryptKeys(registry: Registry, { from, to, atMs }: Encryptions): Promise<number> {
  const { revision, keys } = await registry.signingKeys();
  const put = keys.flatMap((key): StoredSigningKey[] => {
    const { kid, encryptedPrivateJwk: ciphertext } = key;
    if (ciphertext === undefined || decrypts(to, ciphertext, kid)) return [];
    return [{ ...key, encryptedPrivateJwk: to.encrypt(from.decrypt(ciphertext, kid), kid) }];
  });
  if (put.length === 0) return 0;
  const events = put.map(({ kid }) =>
    auditEvent({ atMs, actor: issuerActor, action: 'key.reencrypt', target: kid }),
  );
  const { outcome } = await registry.changeSigningKeys({ revision, atMs, put, removed: [], events });
  if (outcome === 'changed') return put.length;
  throw new FleetgateError(
    'registry_unavailable',
    'an issuer runs on the database; stop it, and run this again',
  );
}

/** Contexts that are read and replaced at once. */
const BATCH_CONTEXTS = 1000;

async function reencryptContexts(registry: Registry, { from, to, atMs }: Encryptions): Promise<number> {
  let reencrypted = 0;
  let after: Uint8Array = new Uint8Array();
  for (;;) {
    const contexts = await registry.listContexts({ after, limit: BATCH_CONTEXTS });
    const last = contexts.at(-1);
    if (last === undefined) return reencrypted;
    const put = contexts.flatMap(({ kid, encrypted }): StoredContext[] => {
      const label = contextLabel(kid);
      if (decrypts(to, encrypted, label)) return [];
      return [{ kid, encrypted: to.encrypt(from.decrypt(encrypted, label), label) }];
    });
    if (put.length > 0) {
      const event = auditEvent({ atMs, actor: issuerActor, action: 'key.reencrypt', target: 'oscore' });
      await registry.replaceContexts(put, event);
    }
    reencrypted += put.length;
    after = last.kid;
  }
}

async function reencryptGroupKeys(registry: Registry, { from, to, atMs }: Encryptions): Promise<number> {
  let reencrypted = 0;
  let after = '';
  for (;;) {
    const page = await registry.listGroupKeys({ after, limit: BATCH_CONTEXTS });
    for (const { id, groupKeys } of page) {
      const again = (which: 'primary' | 'secondary') => {
        const label = groupKeyLabel(id, which);
        const ciphertext = groupKeys[which];
        return decrypts(to, ciphertext, label)
          ? ciphertext
          : to.encrypt(from.decrypt(ciphertext, label), label);
      };
      const put = { primary: again('primary'), secondary: again('secondary') };
      if (put.primary === groupKeys.primary && put.secondary === groupKeys.secondary) continue;
      const event = auditEvent({ atMs, actor: issuerActor, action: 'key.reencrypt', target: id });
      await registry.setGroupKeys(id, put, event);
      reencrypted += 2;
    }
    const last = page.at(-1);
    if (last === undefined) return reencrypted;
    after = last.id;
  }
}

function decrypts(encryption: KeyEncryption, ciphertext: Uint8Array, kid: string): boolean {
  try {
    encryption.decrypt(ciphertext, kid);
    return true;
  } catch {
    return false;
  }
}
