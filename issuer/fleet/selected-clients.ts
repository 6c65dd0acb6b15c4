import { FleetgateError, ownTurn } from '@fleetgate/shared';
import type { ClientChanges } from '../client-changes.ts';
import type { Administrator, ClientPage, Clients } from '../clients.ts';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import type { Revocations } from '../revocations.ts';
import { parseSelector } from './selector.ts';

/** Clients that one request acts on. They share few commits. */
export const MAX_SELECTED = 500;

/** Looks into the registry for one page or count: beyond, it says how far it got. */
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
  now: () => number,
  clients: Clients,
  changes: ClientChanges,
  revocations: Revocations,
): SelectedClientActs {
  const select = ({ selector, after, limit }: SelectionStep) =>
    registry.selectClients({
      selector: parseSelector(selector),
      nowMs: now(),
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
    async list({ selector, after, limit }) {
      const look = { selector: parseSelector(selector), nowMs: now() };
      const size = Math.min(limit, MAX_SELECTED);
      const clients: ClientRecord[] = [];
      const nextAfter = await lookOn(after, async (behind) => {
        const found = await registry.selectClients({
          ...look,
          after: behind,
          limit: size - clients.length,
        });
        clients.push(...found.clients);
        return { reached: found.reached, isEnough: clients.length >= size };
      });
      return { clients, nextAfter };
    },
    async count({ selector, after }) {
      const look = { selector: parseSelector(selector), nowMs: now() };
      let count = 0;
      const nextAfter = await lookOn(after, async (behind) => {
        const found = await registry.countClients({ ...look, after: behind });
        count += found.count;
        return { reached: found.reached, isEnough: false };
      });
      return { count, nextAfter };
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

/** Looks again behind what was reached, as often as one request may. Where it got to; unset at the end. */
async function lookOn(
  after: string | undefined,
  look: (after: string | undefined) => Promise<{ reached: string | undefined; isEnough: boolean }>,
): Promise<string | undefined> {
  let behind = after;
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    // Others are served between two looks, whoever looks.
    await ownTurn();
    const { reached, isEnough } = await look(behind);
    if (reached === undefined || isEnough) return reached;
    behind = reached;
  }
  return behind;
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
