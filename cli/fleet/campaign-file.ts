import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { privateFileProblem } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { openReplacedFile } from '../replaced-file.ts';

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

/** @throws UsageError for none, or one that others may read */
export function readCampaignFile(directory: string): CampaignFile {
  const file = campaignFileOf(directory);
  try {
    const problem = privateFileProblem(file, statSync(file).mode);
    if (problem !== undefined) throw new UsageError(problem);
    const state = JSON.parse(readFileSync(file, 'utf8')) as CampaignFile;
    if (state.version === 1 && typeof state.campaign_key === 'string') return state;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new UsageError(`there is no ${file}: the campaign is done, or writes somewhere else`);
    }
  }
  throw new UsageError(`${file} is not the state of a campaign`);
}

export function writeCampaignFile(state: CampaignFile): void {
  const file = openReplacedFile(campaignFileOf(state.directory));
  try {
    file.replace(`${JSON.stringify(state, null, 2)}\n`);
  } finally {
    file.discard();
  }
}

export function removeCampaignFile(directory: string): void {
  rmSync(campaignFileOf(directory), { force: true });
}
