import { FleetgateError } from '@fleetgate/shared';
import type { ClientPatch, ClientView } from '../admin-client.ts';
import { EXIT_DONE, EXIT_FAILED, EXIT_PARTLY_DONE, UsageError } from '../exit.ts';
import { parseLabels } from './client.ts';

/** What `client update` is asked to set and to take back. */
export interface ChangeFlags {
  name?: string;
  scope?: string;
  audience?: string[];
  auth?: string;
  group?: string;
  label?: string[];
  removeLabel?: string[];
  tokenLifetimeSeconds?: string;
  unset?: string[];
}

/** What can be taken back to its default, by the name of its option. */
export const unsettable: ReadonlyMap<string, keyof ClientPatch> = new Map<string, keyof ClientPatch>([
  ['name', 'name'],
  ['scope', 'scope'],
  ['audience', 'audience'],
  ['auth', 'auth_method'],
  ['group', 'group'],
  ['labels', 'labels'],
  ['metadata', 'metadata'],
  ['token-lifetime-seconds', 'token_lifetime_seconds'],
]);

/** The merge patch of the flags; a UsageError when they say nothing, or two things of one field. */
export function clientPatch(flags: ChangeFlags): ClientPatch {
  const labels = {
    ...parseLabels(flags.label ?? []),
    ...Object.fromEntries((flags.removeLabel ?? []).map((name) => [name, null])),
  };
  const patch: ClientPatch = {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.scope === undefined ? {} : { scope: flags.scope }),
    ...(flags.audience === undefined ? {} : { audience: flags.audience }),
    ...(flags.auth === undefined ? {} : { auth_method: flags.auth }),
    ...(flags.group === undefined ? {} : { group: flags.group }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(flags.tokenLifetimeSeconds === undefined
      ? {}
      : { token_lifetime_seconds: lifetimeSeconds(flags.tokenLifetimeSeconds) }),
  };
  for (const name of flags.unset ?? []) {
    const field = unsettable.get(name);
    if (field === undefined) continue;
    if (patch[field] !== undefined) throw new UsageError(`${name} is both set and in --unset`);
    patch[field] = null;
  }
  if (Object.keys(patch).length === 0) {
    throw new UsageError('nothing is to be changed; name what is, as by --scope or --unset group');
  }
  return patch;
}

/** Seconds as an option has them; a UsageError for what is no whole number. */
export function lifetimeSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isSafeInteger(seconds) && seconds > 0) return seconds;
  throw new UsageError('--token-lifetime-seconds takes a whole number of seconds');
}

/** Does the same to each client; what goes wrong with one does not keep the others. */
export async function changeEach(
  clientIds: readonly string[],
  act: (clientId: string) => Promise<ClientView>,
  warn: (line: string) => void,
): Promise<{ clients: ClientView[]; exitCode: number }> {
  const clients: ClientView[] = [];
  for (const clientId of clientIds) {
    try {
      clients.push(await act(clientId));
    } catch (error) {
      if (!(error instanceof FleetgateError) || error.code !== 'client_unknown') throw error;
      warn(error.message);
    }
  }
  const failed = clients.length === 0 ? EXIT_FAILED : EXIT_PARTLY_DONE;
  return { clients, exitCode: clients.length === clientIds.length ? EXIT_DONE : failed };
}
