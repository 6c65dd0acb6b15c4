import { isLiveSecret } from '../../secrets.ts';
import type {
  CampaignDevice,
  CampaignRecord,
  CampaignRegistry,
  CampaignState,
  NewBatch,
  NewBatchSecret,
} from '../campaign-registry.ts';
import { clientSecrets } from './client-secrets.ts';
import { clients } from './clients.ts';
import { type Act, sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

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

const insert = sql<Value[]>(`
  INSERT INTO campaigns (id, selector, batch_size, confirm_seconds, pause_ratio, secret_lifetime_seconds, key_hash,
    state, reason, selected, batch, batch_at_ms, reached, confirmed, failed, created_by, created_at_ms, updated_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const find = sql<[id: string], CampaignRow>('SELECT * FROM campaigns WHERE id = ?');
const list = sql<[sequence: number, limit: number], CampaignRow>(
  'SELECT * FROM campaigns WHERE sequence < ? ORDER BY sequence DESC LIMIT ?',
);
const setState = sql<Value[]>('UPDATE campaigns SET state = ?, reason = ?, updated_at_ms = ? WHERE id = ?');
const advance = sql<Value[]>(`
  UPDATE campaigns SET batch = ?, batch_at_ms = ?, reached = ?, confirmed = confirmed + ?, failed = failed + ?,
    updated_at_ms = ? WHERE id = ?`);
const insertDevice = sql<Value[]>(`
  INSERT INTO campaign_devices (campaign_id, client_id, registration, batch, secret_id, failure)
  VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (campaign_id, client_id) DO NOTHING`);
// A client that is gone, and a secret that gave way to another, have nothing to wait for.
const devices = sql<[Record<string, Value>], DeviceRow>(`
  SELECT device.*, CASE WHEN device.secret_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM client_secrets AS one
    WHERE one.registration = device.registration AND one.secret_id = device.secret_id
      AND one.first_used_at_ms IS NULL) THEN 1 ELSE 0 END AS is_confirmed
  FROM campaign_devices AS device
  WHERE device.campaign_id = @id AND (device.batch = @batch OR @batch IS NULL) AND device.client_id > @after
  ORDER BY device.client_id LIMIT @limit`);

/** The acts on campaigns. */
export function campaignActs({ read, write, record }: Store): CampaignRegistry {
  /** Why it could not be rotated; unset when it was. */
  function* rotate({
    client: { clientId, registration },
    secret,
    event,
  }: NewBatchSecret): Act<string | undefined> {
    if ((yield* clients.registrationOf(clientId)) !== registration) return 'client_unknown';
    const rotation = { clientId, secret, olderEndAtMs: undefined, olderEndOnSuccession: true };
    let after = yield* clientSecrets.rotate(registration, rotation);
    if (after === undefined) {
      const live = (yield* clientSecrets.ofClient(registration)).filter((one) =>
        isLiveSecret(one, secret.createdAtMs),
      );
      // The older one may be all that the device has.
      const waiting = live.slice(1).find(({ firstUsedAtMs }) => firstUsedAtMs === undefined);
      if (waiting === undefined) return 'secret_limit_reached';
      yield* clientSecrets.end(registration, waiting.secretId, secret.createdAtMs);
      after = yield* clientSecrets.rotate(registration, rotation);
    }
    if (after === undefined) return 'secret_limit_reached';
    yield* clients.countChange(registration);
    yield* record(event);
    return undefined;
  }

  function* rotateBatch({
    campaignId,
    batch,
    secrets: all,
    reached,
    confirmed,
    failed,
    atMs,
  }: NewBatch): Act<boolean> {
    const campaign = yield* find.get(campaignId);
    if (campaign === undefined || campaign.state !== 'running' || campaign.batch !== batch - 1) return false;
    for (const one of all) {
      const failure = yield* rotate(one);
      if (failure !== undefined) yield* record({ ...one.event, result: failure });
      const { clientId, registration } = one.client;
      const secretId = failure === undefined ? one.secret.secretId : null;
      yield* insertDevice.run(campaignId, clientId, registration, batch, secretId, failure ?? null);
    }
    yield* advance.run(batch, atMs, reached ?? campaign.reached, confirmed, failed, atMs, campaignId);
    return true;
  }

  return {
    createCampaign: (campaign, event) =>
      write(function* () {
        yield* insert.run(
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
        yield* record(event);
      }),
    findCampaign: (id) =>
      read(function* () {
        return toCampaign(yield* find.get(id));
      }),
    listCampaigns: ({ before, limit }) =>
      read(function* () {
        const sequence =
          before === undefined ? Number.MAX_SAFE_INTEGER : ((yield* find.get(before))?.sequence ?? 0);
        return (yield* list.all(sequence, limit)).map((row) => toCampaign(row) as CampaignRecord);
      }),
    setCampaignState: (id, from, { state, reason }, event) =>
      write(function* () {
        const before = yield* find.get(id);
        if (before === undefined || !from.includes(before.state)) return false;
        yield* setState.run(state, reason ?? null, event.atMs, id);
        yield* record(event);
        return true;
      }),
    rotateBatch: (batch) => write(() => rotateBatch(batch)),
    listCampaignDevices: (id, { batch, after = '', limit }) =>
      read(function* () {
        return (yield* devices.all({ id, batch: batch ?? null, after, limit })).map(toDevice);
      }),
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
