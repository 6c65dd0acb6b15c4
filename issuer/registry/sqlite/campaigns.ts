import { isLiveSecret } from '../../secrets.ts';
import type {
  CampaignDevice,
  CampaignRecord,
  CampaignRegistry,
  CampaignState,
  NewBatch,
  NewBatchSecret,
} from '../campaign-registry.ts';
import type { Acts } from './acts.ts';
import type { ClientSecretStatements } from './client-secrets.ts';
import type { ClientStatements } from './clients.ts';
import type { Database } from './database.ts';

interface CampaignRow {
  sequence: number;
  id: string;
  selector: string;
  batch_size: number;
  confirm_seconds: number;
  pause_ratio: number;
  secret_lifetime_seconds: number | null;
  key_hash: Buffer;
  state: CampaignState;
  reason: string | null;
  selected: number;
  batch: number;
  batch_at_ms: number | null;
  reached: string | null;
  confirmed: number;
  failed: number;
  created_by: string;
  created_at_ms: number;
  updated_at_ms: number;
}

interface DeviceRow {
  client_id: string;
  registration: number;
  batch: number;
  secret_id: string | null;
  failure: string | null;
  is_confirmed: 0 | 1;
}

/** The acts on campaigns. */
export function campaignActs(
  database: Database,
  clients: ClientStatements,
  secrets: ClientSecretStatements,
  { read, write, record }: Acts,
): CampaignRegistry {
  const insert = database.prepare<unknown[]>(`
    INSERT INTO campaigns (id, selector, batch_size, confirm_seconds, pause_ratio, secret_lifetime_seconds, key_hash,
      state, reason, selected, batch, batch_at_ms, reached, confirmed, failed, created_by, created_at_ms, updated_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const find = database.prepare<[string], CampaignRow>('SELECT * FROM campaigns WHERE id = ?');
  const list = database.prepare<[number, number], CampaignRow>(
    'SELECT * FROM campaigns WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
  );
  const setState = database.prepare<unknown[]>(
    'UPDATE campaigns SET state = ?, reason = ?, updated_at_ms = ? WHERE id = ?',
  );
  const advance = database.prepare<unknown[]>(`
    UPDATE campaigns SET batch = ?, batch_at_ms = ?, reached = ?, confirmed = confirmed + ?, failed = failed + ?,
      updated_at_ms = ? WHERE id = ?`);
  const insertDevice = database.prepare<unknown[]>(`
    INSERT INTO campaign_devices (campaign_id, client_id, registration, batch, secret_id, failure)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (campaign_id, client_id) DO NOTHING`);
  // A client that is gone, and a secret that gave way to another, have nothing to wait for.
  const devices = database.prepare<object, DeviceRow>(`
    SELECT device.*, device.secret_id IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM client_secrets AS one
      WHERE one.registration = device.registration AND one.secret_id = device.secret_id
        AND one.first_used_at_ms IS NULL) AS is_confirmed
    FROM campaign_devices AS device
    WHERE device.campaign_id = @id AND (@batch IS NULL OR device.batch = @batch) AND device.client_id > @after
    ORDER BY device.client_id LIMIT @limit`);

  /** Why it could not be rotated; unset when it was. */
  function rotate({ client: { clientId, registration }, secret, event }: NewBatchSecret): string | undefined {
    if (clients.registrationOf(clientId) !== registration) return 'client_unknown';
    const rotation = { clientId, secret, olderEndAtMs: undefined, olderEndOnSuccession: true };
    let after = secrets.rotate(registration, rotation);
    if (after === undefined) {
      const live = secrets.ofClient(registration).filter((one) => isLiveSecret(one, event.atMs));
      // The older one may be all that the device has.
      const waiting = live.slice(1).find(({ firstUsedAtMs }) => firstUsedAtMs === undefined);
      if (waiting === undefined) return 'secret_limit_reached';
      secrets.end(registration, waiting.secretId, event.atMs);
      after = secrets.rotate(registration, rotation);
    }
    if (after === undefined) return 'secret_limit_reached';
    clients.countChange(registration);
    record(event);
    return undefined;
  }

  function rotateBatch({
    campaignId,
    batch,
    secrets: all,
    reached,
    confirmed,
    failed,
    atMs,
  }: NewBatch): boolean {
    const campaign = find.get(campaignId);
    if (campaign === undefined || campaign.state !== 'running' || campaign.batch !== batch - 1) return false;
    for (const one of all) {
      const failure = rotate(one);
      if (failure !== undefined) record({ ...one.event, result: failure });
      const { clientId, registration } = one.client;
      const secretId = failure === undefined ? one.secret.secretId : null;
      insertDevice.run(campaignId, clientId, registration, batch, secretId, failure ?? null);
    }
    advance.run(batch, atMs, reached ?? campaign.reached, confirmed, failed, atMs, campaignId);
    return true;
  }

  return {
    createCampaign: (campaign, event) =>
      write(() => {
        insert.run(
          campaign.id,
          campaign.selector,
          campaign.batchSize,
          campaign.confirmSeconds,
          campaign.pauseRatio,
          campaign.secretLifetimeSeconds ?? null,
          campaign.keyHash,
          campaign.state,
          campaign.reason ?? null,
          campaign.selected,
          campaign.batch,
          campaign.batchAtMs ?? null,
          campaign.reached ?? null,
          campaign.confirmed,
          campaign.failed,
          campaign.createdBy,
          campaign.createdAtMs,
          campaign.updatedAtMs,
        );
        record(event);
      }),
    findCampaign: (id) => read(() => toCampaign(find.get(id))),
    listCampaigns: ({ before, limit }) =>
      read(() => {
        const sequence = before === undefined ? Number.MAX_SAFE_INTEGER : (find.get(before)?.sequence ?? 0);
        return list.all(sequence, limit).map((row) => toCampaign(row) as CampaignRecord);
      }),
    setCampaignState: (id, from, { state, reason }, event) =>
      write(() => {
        const before = find.get(id);
        if (before === undefined || !from.includes(before.state)) return false;
        setState.run(state, reason ?? null, event.atMs, id);
        record(event);
        return true;
      }),
    rotateBatch: (batch) => write(() => rotateBatch(batch)),
    listCampaignDevices: (id, { batch, after = '', limit }) =>
      read(() => devices.all({ id, batch: batch ?? null, after, limit }).map(toDevice)),
  };
}

function toCampaign(row: CampaignRow | undefined): CampaignRecord | undefined {
  if (row === undefined) return undefined;
  return {
    id: row.id,
    selector: row.selector,
    batchSize: row.batch_size,
    confirmSeconds: row.confirm_seconds,
    pauseRatio: row.pause_ratio,
    secretLifetimeSeconds: row.secret_lifetime_seconds ?? undefined,
    keyHash: row.key_hash,
    state: row.state,
    reason: row.reason ?? undefined,
    selected: row.selected,
    batch: row.batch,
    batchAtMs: row.batch_at_ms ?? undefined,
    reached: row.reached ?? undefined,
    confirmed: row.confirmed,
    failed: row.failed,
    createdBy: row.created_by,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}

function toDevice(row: DeviceRow): CampaignDevice {
  return {
    clientId: row.client_id,
    registration: row.registration,
    batch: row.batch,
    secretId: row.secret_id ?? undefined,
    failure: row.failure ?? undefined,
    isConfirmed: row.is_confirmed === 1,
  };
}
