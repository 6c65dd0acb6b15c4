import { accessSync, constants } from 'node:fs';
import type { Config } from './schema.ts';

const fileKeys = [
  'tls_cert_file',
  'tls_key_file',
  'tls_client_ca_file',
  'tls_ca_file',
  'credentials_file',
] as const;

/** Files the broker will read and cannot: a line each. Looked at before anything listens. */
export function unreadableFiles({ listeners, trusted_issuers, cluster }: Config['broker']): string[] {
  const sections = [
    ...listeners.map((section, index) => ({ key: `broker.listeners.${index}`, section })),
    ...trusted_issuers.map((section, index) => ({ key: `broker.trusted_issuers.${index}`, section })),
    ...(cluster === undefined ? [] : [{ key: 'broker.cluster', section: cluster }]),
  ];
  return sections.flatMap(({ key, section }) => unreadableIn(key, section));
}

/** Those of one section, which is at `key`. */
export function unreadableIn(key: string, section: object): string[] {
  return fileKeys.flatMap((name) => {
    const file = (section as Partial<Record<typeof name, string>>)[name];
    const problem = file === undefined ? undefined : problemOf(file);
    return problem === undefined ? [] : [`${key}.${name}: ${file} cannot be read (${problem})`];
  });
}

function problemOf(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
