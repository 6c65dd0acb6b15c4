import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import { administrativeActs } from '../administrative-act.ts';
import { type AuditEvent, auditEvent, issuerActor } from '../audit.ts';
import { usesSecret } from '../client-auth/methods.ts';
import { checkText } from '../client-registration.ts';
import type { Administrator } from '../clients.ts';
import type { ContextVault } from '../oscore-context.ts';
import type {
  CampaignDevice,
  CampaignPlan,
  CampaignRecord,
  CampaignState,
} from '../registry/campaign-registry.ts';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import { checkPlan, MAX_BATCH_SIZE } from './campaign-plan.ts';
import { campaignSecrets, type RotatedDevice } from './campaign-secrets.ts';
import { DERIVATION_KEY_BYTES } from './derived-random.ts';
import { parseSelector } from './selector.ts';

const MAX_REASON_LENGTH = 256;

/** How far the batch under way is. */
export interface BatchProgress {
  readonly size: number;
  readonly confirmed: number;
  /** Could not be rotated or, after {@link deadlineMs}, did not use the new secret. */
  readonly failed: number;
  readonly waiting: number;
  readonly deadlineMs: number | undefined;
}

export interface Campaign {
  readonly record: CampaignRecord;
  readonly batch: BatchProgress;
}

/**
 * Rotates the secrets of many clients, a batch at a time: a batch begins when the one before is settled, each of its
 * clients having used its new secret or failed to in time. When too many of a batch fail the campaign pauses by itself.
 * The old secret of a client lasts until a minute after the new one was used, so that none is left without.
 */
export interface Campaigns {
  /** With its key, shown this once: the secrets are derived from it. @throws FleetgateError `invalid_request` */
  create(
    plan: CampaignPlan,
    by: Administrator,
  ): Promise<{ readonly campaign: Campaign; readonly key: string }>;
  /** @throws FleetgateError `campaign_unknown` */
  find(id: string): Promise<Campaign>;
  /** From new to old. */
  list(page: { readonly before?: string | undefined; readonly limit: number }): Promise<CampaignRecord[]>;
  /**
   * Rotates the next batch, or answers the one under way again. None of its clients when there are no more: then the
   * campaign is done.
   * @throws FleetgateError `campaign_unknown`, `campaign_conflict` when the batch under way is not settled, or the
   *   campaign is paused or has ended, or for another key
   */
  rotate(
    id: string,
    request: { readonly key: string; readonly batch: number },
    by: Administrator,
  ): Promise<{ readonly campaign: Campaign; readonly devices: readonly RotatedDevice[] }>;
  /** @throws FleetgateError `campaign_unknown`, `campaign_conflict` unless it runs */
  pause(id: string, reason: string, by: Administrator): Promise<Campaign>;
  /** Goes on with the next batch; what failed is left. @throws FleetgateError `campaign_unknown`, `campaign_conflict` */
  resume(id: string, by: Administrator): Promise<Campaign>;
  /** Secrets it made stay. @throws FleetgateError `campaign_unknown`, `campaign_conflict` when it has ended */
  cancel(id: string, by: Administrator): Promise<Campaign>;
  /** Its clients so far. @throws FleetgateError `campaign_unknown` */
  devices(
    id: string,
    page: {
      readonly batch?: number | undefined;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<(CampaignDevice & { readonly state: CampaignDeviceState })[]>;
}

/** Failed is who could not be rotated, and who has not used its new secret in time; such a one may still come to use it. */
export type CampaignDeviceState = 'confirmed' | 'waiting' | 'failed';

export function openCampaigns(registry: Registry, now: () => number, contexts: ContextVault): Campaigns {
  const { event, recorded } = administrativeActs(registry, now);
  const secrets = campaignSecrets(registry, contexts);

  async function findRecord(id: string): Promise<CampaignRecord> {
    const record = await registry.findCampaign(id);
    if (record === undefined) throw new FleetgateError('campaign_unknown', 'there is no such campaign');
    return record;
  }

  async function progressOf({
    id,
    batch,
    batchAtMs,
    confirmSeconds,
  }: CampaignRecord): Promise<BatchProgress> {
    if (batch === 0 || batchAtMs === undefined) return noBatch;
    const devices = await registry.listCampaignDevices(id, { batch, limit: MAX_BATCH_SIZE });
    const deadlineMs = batchAtMs + confirmSeconds * 1000;
    const confirmed = devices.filter(({ isConfirmed }) => isConfirmed).length;
    const refused = devices.filter(({ failure }) => failure !== undefined).length;
    const unused = devices.length - confirmed - refused;
    const isOver = now() >= deadlineMs;
    return {
      size: devices.length,
      confirmed,
      failed: refused + (isOver ? unused : 0),
      waiting: isOver ? 0 : unused,
      deadlineMs,
    };
  }

  /** The campaign as it is now: it pauses when it is looked at and too many of its batch have failed. */
  async function look(record: CampaignRecord): Promise<Campaign> {
    const batch = await progressOf(record);
    const hasFailed = batch.failed > 0 && batch.failed >= batch.size * record.pauseRatio;
    // One that was resumed goes on in spite of this batch.
    if (record.state !== 'running' || !hasFailed || isOverlooked(record)) return { record, batch };
    const reason = `${batch.failed} of ${batch.size} in batch ${record.batch} failed`;
    await registry.setCampaignState(
      record.id,
      ['running'],
      { state: 'paused', reason },
      ofItself('campaign.pause', record.id),
    );
    return { record: await findRecord(record.id), batch };
  }

  const ofItself = (action: 'campaign.pause' | 'campaign.finish', target: string): AuditEvent =>
    auditEvent({ atMs: now(), actor: issuerActor, action, target });

  const find = async (id: string) => look(await findRecord(id));

  async function rotate(
    id: string,
    { key, batch }: { readonly key: string; readonly batch: number },
    by: Administrator,
  ): ReturnType<Campaigns['rotate']> {
    const campaign = await find(id);
    const { record } = campaign;
    const bytes = Buffer.from(key, 'base64url');
    if (!timingSafeEqual(sha256(bytes), record.keyHash)) {
      conflict('this is not the key of the campaign, which its creation answered');
    }
    if (batch === record.batch && batch > 0) {
      return { campaign, devices: await secrets.shownAgain(record, bytes) };
    }
    if (record.state === 'done') return { campaign, devices: [] };
    if (record.state !== 'running') conflict(`the campaign is ${record.state}${because(record.reason)}`);
    if (batch !== record.batch + 1)
      conflict(`the campaign is at batch ${record.batch}; the next is ${record.batch + 1}`);
    const { waiting, confirmed, failed } = campaign.batch;
    if (waiting > 0) conflict(`${waiting} of batch ${record.batch} have not used their new secret yet`);
    const { clients, reached } = await nextClients(record);
    if (clients.length === 0) {
      await registry.rotateBatch({
        campaignId: id,
        batch,
        secrets: [],
        reached,
        confirmed,
        failed,
        atMs: now(),
      });
      await registry.setCampaignState(id, ['running'], { state: 'done' }, ofItself('campaign.finish', id));
      return { campaign: await find(id), devices: [] };
    }
    const atMs = now();
    const made = clients.map((client) =>
      secrets.make(record, client, bytes, { ...event(by, 'secret.rotate', client.clientId), atMs }),
    );
    const isDone = await registry.rotateBatch({
      campaignId: id,
      batch,
      secrets: made,
      reached: clients.at(-1)?.clientId,
      confirmed,
      failed,
      atMs,
    });
    if (!isDone) conflict('another has gone on with the campaign');
    const next = await findRecord(id);
    return { campaign: await look(next), devices: await secrets.shownAgain(next, bytes) };
  }

  /** Those with a secret that come next: as many as a batch takes. */
  async function nextClients({ selector, reached, batchSize }: CampaignRecord) {
    const parsed = parseSelector(selector);
    const clients: ClientRecord[] = [];
    let after = reached;
    do {
      const page = await registry.selectClients({
        selector: parsed,
        nowMs: now(),
        after,
        limit: batchSize - clients.length,
      });
      clients.push(...page.clients.filter(({ authMethod }) => usesSecret(authMethod)));
      after = page.reached;
    } while (after !== undefined && clients.length < batchSize);
    return { clients, reached: clients.at(-1)?.clientId };
  }

  async function change(
    id: string,
    from: readonly CampaignState[],
    to: { readonly state: CampaignState; readonly reason?: string },
    done: AuditEvent,
  ): Promise<Campaign> {
    const before = await findRecord(id);
    if (!(await registry.setCampaignState(id, from, to, done))) {
      const { state } = await findRecord(id);
      if (state !== to.state) conflict(`the campaign is ${state}${because(before.reason)}`);
    }
    return find(id);
  }

  return {
    create: (plan, by) =>
      recorded('campaign.create', undefined, by, async () => {
        checkPlan(plan);
        const selector = parseSelector(plan.selector);
        let selected = 0;
        let after: string | undefined;
        do {
          const part = await registry.countClients({ selector, nowMs: now(), after });
          selected += part.count;
          after = part.reached;
        } while (after !== undefined);
        const key = randomBytes(DERIVATION_KEY_BYTES);
        const id = randomUUID();
        const done = event(by, 'campaign.create', id);
        const record: CampaignRecord = {
          ...plan,
          id,
          keyHash: sha256(key),
          state: 'running',
          reason: undefined,
          selected,
          batch: 0,
          batchAtMs: undefined,
          reached: undefined,
          confirmed: 0,
          failed: 0,
          createdBy: by.keyName,
          createdAtMs: done.atMs,
          updatedAtMs: done.atMs,
        };
        await registry.createCampaign(record, done);
        return { campaign: { record, batch: noBatch }, key: key.toString('base64url') };
      }),
    find,
    list: (page) => registry.listCampaigns(page),
    rotate,
    pause: (id, reason, by) =>
      recorded('campaign.pause', id, by, async () => {
        checkText('reason', reason, MAX_REASON_LENGTH);
        return change(id, ['running'], { state: 'paused', reason }, event(by, 'campaign.pause', id));
      }),
    resume: (id, by) =>
      recorded('campaign.resume', id, by, async () => {
        const { batch } = await findRecord(id);
        const reason = overlooking(batch);
        return change(id, ['paused'], { state: 'running', reason }, event(by, 'campaign.resume', id));
      }),
    cancel: (id, by) =>
      recorded('campaign.cancel', id, by, () =>
        change(id, ['running', 'paused'], { state: 'cancelled' }, event(by, 'campaign.cancel', id)),
      ),
    async devices(id, page) {
      const { batch, batchAtMs = 0, confirmSeconds } = await findRecord(id);
      const isOver = now() >= batchAtMs + confirmSeconds * 1000;
      const stateOf = (device: CampaignDevice): CampaignDeviceState => {
        if (device.failure !== undefined) return 'failed';
        if (device.isConfirmed) return 'confirmed';
        return isOver || device.batch < batch ? 'failed' : 'waiting';
      };
      const devices = await registry.listCampaignDevices(id, page);
      return devices.map((device) => ({ ...device, state: stateOf(device) }));
    },
  };
}

const noBatch: BatchProgress = { size: 0, confirmed: 0, failed: 0, waiting: 0, deadlineMs: undefined };

/** Kept as the reason of a campaign that runs: it was resumed in spite of this batch. */
const overlooking = (batch: number) => `resumed at batch ${batch}`;
const isOverlooked = ({ batch, reason }: CampaignRecord) => reason === overlooking(batch);

const because = (reason: string | undefined) => (reason === undefined ? '' : `: ${reason}`);

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

function conflict(message: string): never {
  throw new FleetgateError('campaign_conflict', message);
}
