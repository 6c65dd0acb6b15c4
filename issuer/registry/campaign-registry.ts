import type { AuditEvent } from '../audit.ts';
import type { ClientSecret } from '../secrets.ts';
import type { ClientRecord } from './registry.ts';

export type CampaignState = 'running' | 'paused' | 'done' | 'cancelled';

/** How a campaign goes about it. */
export interface CampaignPlan {
  /** As it was written; see `parseSelector`. */
  readonly selector: string;
  /** Clients whose secrets are rotated together. */
  readonly batchSize: number;
  /** How long a batch has to use the new secrets. */
  readonly confirmSeconds: number;
  /** Share of a batch, from 0 to 1, that makes the campaign pause when it has failed. */
  readonly pauseRatio: number;
  /** How long after their making the new secrets end. Unset: they do not. */
  readonly secretLifetimeSeconds: number | undefined;
}

/** A rotation of many secrets, batch by batch. Batches are counted from 1. */
export interface CampaignRecord extends CampaignPlan {
  readonly id: string;
  /** SHA-256 of the key that its secrets are derived from, which is kept nowhere. */
  readonly keyHash: Uint8Array;
  readonly state: CampaignState;
  /** Why it is paused. */
  readonly reason: string | undefined;
  /** Clients that were selected when it began. */
  readonly selected: number;
  /** The batch under way, or done last; 0 before the first. */
  readonly batch: number;
  readonly batchAtMs: number | undefined;
  /** The last client of the batches so far. */
  readonly reached: string | undefined;
  /** Of the batches before this one. */
  readonly confirmed: number;
  readonly failed: number;
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A client of a batch. */
export interface CampaignDevice {
  readonly clientId: string;
  readonly registration: number;
  readonly batch: number;
  /** The new secret; unset where there is none, for `failure`. */
  readonly secretId: string | undefined;
  readonly failure: string | undefined;
  /** Whether the new secret was used, or is not the newest any more, or the client is gone: nothing is to be waited for. */
  readonly isConfirmed: boolean;
}

/** A client whose secret is to be rotated, with the new one. */
export interface NewBatchSecret {
  readonly client: Pick<ClientRecord, 'clientId' | 'registration'>;
  readonly secret: ClientSecret;
  readonly event: AuditEvent;
}

export interface NewBatch {
  readonly campaignId: string;
  /** One more than the campaign's is now. */
  readonly batch: number;
  readonly secrets: readonly NewBatchSecret[];
  /** Clients after it are of later batches. */
  readonly reached: string | undefined;
  /** Of the batch before. */
  readonly confirmed: number;
  readonly failed: number;
  readonly atMs: number;
}

/** What the registry keeps of rotation campaigns. As to durability see `Registry`. */
export interface CampaignRegistry {
  createCampaign(campaign: CampaignRecord, event: AuditEvent): Promise<void>;
  findCampaign(id: string): Promise<CampaignRecord | undefined>;
  /** From new to old; those older than `before`. */
  listCampaigns(page: {
    readonly before?: string | undefined;
    readonly limit: number;
  }): Promise<CampaignRecord[]>;
  /** Whether it was in one of the states `from`; `false` with nothing written. */
  setCampaignState(
    id: string,
    from: readonly CampaignState[],
    to: { readonly state: CampaignState; readonly reason?: string | undefined },
    event: AuditEvent,
  ): Promise<boolean>;
  /**
   * Rotates the secrets of a batch; the older ones end soon after the new was used. Of a client with two live secrets
   * one that was never used gives way. `false`, with nothing written, unless it is the next batch of a campaign that runs.
   */
  rotateBatch(batch: NewBatch): Promise<boolean>;
  /** The clients of a batch, or of all, in the order of their ids. */
  listCampaignDevices(
    id: string,
    page: {
      readonly batch?: number | undefined;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<CampaignDevice[]>;
}
