import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Credentials, FleetgateError, formatCredentials, parseCredentials } from '@fleetgate/shared';
import type { AdminClient } from '../admin-client.ts';
import { howToAsk } from '../commands/credential.ts';
import { UsageError } from '../exit.ts';
import type { CampaignView, NewCampaign, RotatedDeviceView } from '../fleet-client.ts';
import { openReplacedFile } from '../replaced-file.ts';
import {
  type CampaignFile,
  campaignFileOf,
  hasCampaignFile,
  removeCampaignFile,
  writeCampaignFile,
} from './campaign-file.ts';
import { checkName } from './credential-sink.ts';
import type { Progress } from './progress.ts';
import { withRetries } from './provision.ts';

/** Between two looks at a batch that is under way. */
const LOOK_INTERVAL_MS = 1000;

export interface CampaignRequest {
  readonly plan: NewCampaign;
  readonly directory: string;
  readonly deliver: string | undefined;
  readonly brokerUrl: string | undefined;
  readonly adminUrl: string;
}

export interface CampaignWatch {
  readonly begin: (campaign: { readonly total: number; readonly done: number }) => Progress;
  readonly isStopped?: () => boolean;
}

/**
 * Begins a campaign and drives it until it is done or pauses.
 * @throws UsageError; FleetgateError as the admin API refuses
 */
export async function startCampaign(
  admin: AdminClient,
  request: CampaignRequest,
  watch: CampaignWatch,
): Promise<CampaignView> {
  const directory = resolve(request.directory);
  if (hasCampaignFile(directory)) {
    throw new UsageError(
      `${campaignFileOf(directory)} is there: a campaign has not ended; go on with: fleetgate campaign resume --dir ${request.directory}`,
    );
  }
  prepareDirectory(directory);
  const { campaign_id, campaign_key } = await admin.createCampaign(request.plan);
  const state: CampaignFile = {
    version: 1,
    campaign_id,
    campaign_key,
    admin_url: request.adminUrl,
    directory,
    deliver: request.deliver,
    broker_url: request.brokerUrl,
    batch: 0,
  };
  writeCampaignFile(state);
  return drive(admin, state, watch);
}

/** Goes on with a campaign that stopped or was paused. */
export async function resumeCampaign(
  admin: AdminClient,
  state: CampaignFile,
  watch: CampaignWatch,
): Promise<CampaignView> {
  const { state: is } = await admin.getCampaign(state.campaign_id);
  if (is === 'paused') await admin.resumeCampaign(state.campaign_id);
  return drive(admin, state, watch);
}

async function drive(admin: AdminClient, begun: CampaignFile, watch: CampaignWatch): Promise<CampaignView> {
  const { campaign_id, campaign_key, directory } = begun;
  let state = begun;
  let campaign = await admin.getCampaign(campaign_id);
  const progress = watch.begin({ total: Math.max(1, campaign.selected), done: settledOf(campaign) });
  try {
    while (campaign.state === 'running' && watch.isStopped?.() !== true) {
      progress.update(settledOf(campaign), campaign.failed);
      const isDelivered = state.batch === campaign.batch;
      if (isDelivered && (campaign.batch_waiting ?? 0) > 0) {
        await sleep(LOOK_INTERVAL_MS);
        campaign = await withRetries(() => admin.getCampaign(campaign_id));
        continue;
      }
      const batch = isDelivered ? campaign.batch + 1 : campaign.batch;
      const rotated = await withRetries(() => admin.rotateBatch(campaign_id, { campaign_key, batch }));
      campaign = rotated.campaign;
      const files: string[] = [];
      for (const device of rotated.devices) files.push(await writeCredentials(admin, state, device));
      if (files.length > 0 && !(await deliver(state.deliver, files))) {
        campaign = await admin.pauseCampaign(campaign_id, `batch ${batch} was not delivered`);
        break;
      }
      state = { ...state, batch };
      writeCampaignFile(state);
    }
    if (campaign.state === 'done') progress.update(Math.max(1, campaign.selected), campaign.failed);
  } finally {
    progress.stop();
  }
  if (campaign.state === 'done' || campaign.state === 'cancelled') removeCampaignFile(directory);
  return campaign;
}

const settledOf = ({ confirmed, failed }: CampaignView) => confirmed + failed;

function prepareDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new UsageError(
      `cannot write to ${directory} (${(error as NodeJS.ErrnoException).code}); name another --dir`,
    );
  }
}

/** Puts the new secret into the device's file, as the other things in it are; makes one where there is none. */
async function writeCredentials(
  admin: AdminClient,
  { directory, broker_url }: CampaignFile,
  { client_id, audience, client_secret, oscore }: RotatedDeviceView,
): Promise<string> {
  checkName({ client_id });
  const path = join(directory, `${client_id}.json`);
  const shown = { ...(client_secret && { client_secret }), ...(oscore && { oscore }) };
  const how = await howToAsk(shown, admin);
  const before = existingCredentials(path, client_id) ?? {
    version: 1,
    client_id,
    issuer: await admin.issuerUrl(),
    ...(audience[0] !== undefined && { audience: audience[0] }),
    ...(broker_url !== undefined && { broker: { url: broker_url } }),
  };
  const file = openReplacedFile(path);
  try {
    file.replace(formatCredentials({ ...before, ...how } as Credentials));
  } finally {
    file.discard();
  }
  return path;
}

function existingCredentials(path: string, clientId: string): Credentials | undefined {
  if (!existsSync(path)) return undefined;
  const credentials = parseCredentials(readFileSync(path, 'utf8'));
  if (credentials.client_id === clientId) return credentials;
  throw new FleetgateError(
    'credentials_invalid',
    `${path} holds the credentials of '${credentials.client_id}'`,
  );
}

/** Runs the command that brings files to their devices: their paths on its standard input, a line each. */
async function deliver(command: string | undefined, files: readonly string[]): Promise<boolean> {
  if (command === undefined) return true;
  const child = spawn('sh', ['-c', command], { stdio: ['pipe', process.stderr, process.stderr] });
  // One that reads nothing is no failure.
  child.stdin.on('error', () => undefined).end(files.map((file) => `${file}\n`).join(''));
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0;
}
