import { existsSync } from 'node:fs';
import { privateState } from './private-state.ts';

/** What a campaign needs to go on (0600), kept beside its directory until it is done. Its key makes all its secrets. */
export interface CampaignFile {
  readonly version: 1;
  readonly campaign_id: string;
  readonly campaign_key: string;
  readonly admin_url: string;
  readonly directory: string;
  readonly deliver?: string | undefined;
  readonly broker_url?: string | undefined;
  /** The last batch whose files are written and delivered. */
  readonly batch: number;
}

export const campaignFileOf = (directory: string) => `${directory.replace(/\/+$/, '')}.campaign`;

export const hasCampaignFile = (directory: string) => existsSync(campaignFileOf(directory));

const campaignStates = privateState<CampaignFile>(
  'the campaign',
  ({ version, campaign_key }) => version === 1 && typeof campaign_key === 'string',
);

/** @throws UsageError for none, or one that others may read */
export const readCampaignFile = (directory: string): CampaignFile =>
  campaignStates.read(campaignFileOf(directory));

export const writeCampaignFile = (state: CampaignFile): void =>
  campaignStates.write(campaignFileOf(state.directory), state);

export const removeCampaignFile = (directory: string): void =>
  campaignStates.remove(campaignFileOf(directory));
