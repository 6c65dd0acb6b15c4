import { FleetgateError } from '@fleetgate/shared';
import type { ClientChanges } from '../client-changes.ts';
import type { Administrator, ClientPage, Clients } from '../clients.ts';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import type { Revocations } from '../revocations.ts';
import { parseSelector } from './selector.ts';

/** Clients that one request acts on. They share few commits. */
export const MAX_SELECTED = 500;

/** Looks into the registry for one count: beyond, it says how far it got. */
const MAX_LOOKS = 50;

/** An act on all clients of a selector, a part at a time. */
export interface SelectionStep {
  /** See `parseSelector`. */
  readonly selector: string;
  /** `nextAfter` of the part before. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface StepDone {
  readonly changed: number;
  /** Such as were so already, or are gone. */
  readonly unchanged: number;
  /** Unset: that was all. */
  readonly nextAfter: string | undefined;
}

/** Acts on clients by a selector. Each client is an act of its own in the audit trail. */
export interface SelectedClientActs {
  /** @throws OAuthError `invalid_request` for a selector that cannot be read; so does each other act */
  list(step: SelectionStep): Promise<ClientPage>;
  /** As far as one request goes; `nextAfter` is there when more may follow. */
  count(step: Pick<SelectionStep, 'selector' | 'after'>): Promise<{
    readonly count: number;
    readonly nextAfter: string | undefined;
  }>;
  quarantine(step: SelectionStep, reason: string, by: Administrator): Promise<StepDone>;
  release(step: SelectionStep, by: Administrator): Promise<StepDone>;
  /** Revokes the tokens they have; they may fetch new ones. */
  revoke(step: SelectionStep, by: Administrator): Promise<StepDone>;
  delete(step: SelectionStep, by: Administrator): Promise<StepDone>;
}

export function openSelectedClients(
  registry: Registry,
  clients: Clients,
  changes: ClientChanges,
  revocations: Revocations,
): SelectedClientActs {
  const select = ({ selector, after, limit }: SelectionStep) =>
    registry.selectClients({
      selector: parseSelector(selector),
      after,
      limit: Math.min(limit, MAX_SELECTED),
    });

  /** Acts on a part at once: what is written shares a commit. */
  async function each(
    step: SelectionStep,
    act: (client: ClientRecord) => Promise<boolean>,
  ): Promise<StepDone> {
    const selected = await select(step);
    const done = await Promise.all(selected.clients.map(act));
    const changed = done.filter(Boolean).length;
    return { changed, unchanged: done.length - changed, nextAfter: selected.reached };
  }

  return {
    async list(step) {
      const { clients, reached } = await select(step);
      return { clients, nextAfter: reached };
    },
    async count({ selector, after }) {
      const parsed = parseSelector(selector);
      let [count, reached] = [0, after];
      for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
        const found = await registry.countClients({ selector: parsed, after: reached });
        count += found.count;
        reached = found.reached;
        if (reached === undefined) break;
        // Others are served between two looks.
        await new Promise((resolve) => setImmediate(resolve));
      }
      return { count, nextAfter: reached };
    },
    quarantine: (step, reason, by) =>
      each(step, (client) => {
        if (client.quarantine?.reason === reason) return unchanged;
        return unlessGone(changes.quarantine(client.clientId, reason, by));
      }),
    release: (step, by) =>
      each(step, (client) => {
        if (client.quarantine === undefined) return unchanged;
        return unlessGone(changes.release(client.clientId, by));
      }),
    revoke: (step, by) =>
      each(step, async ({ clientId }) => {
        const revoking = revocations.revoke({ kind: 'client', clientId }, by);
        return (await unlessGone(revoking)) && !(await revoking).isRepeated;
      }),
    delete: (step, by) => each(step, ({ clientId }) => clients.delete(clientId, by)),
  };
}

const unchanged = Promise.resolve(false);

/** Whether it was done: another may have deleted the client meanwhile. */
async function unlessGone(act: Promise<unknown>): Promise<boolean> {
  try {
    await act;
    return true;
  } catch (error) {
    if (error instanceof FleetgateError && error.code === 'client_unknown') return false;
    throw error;
  }
}
