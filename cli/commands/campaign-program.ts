import { type Command, Option } from 'commander';
import { parseDuration } from '../duration.ts';
import { EXIT_FAILED, EXIT_PARTLY_DONE, UsageError } from '../exit.ts';
import { resumeCampaign, startCampaign } from '../fleet/campaign.ts';
import { readCampaignFile } from '../fleet/campaign-file.ts';
import { showProgress } from '../fleet/progress.ts';
import type { CampaignDeviceView, CampaignView } from '../fleet-client.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';
import { rowFormatOption } from './format-option.ts';

interface CampaignFlags extends ConnectionOptions {
  format: RowFormat;
}

interface StartFlags extends CampaignFlags {
  selector: string;
  dir: string;
  batchSize?: string;
  confirmWithin?: string;
  pauseAt?: string;
  secretLifetime?: string;
  deliver?: string;
  brokerUrl?: string;
}

/** `fleetgate campaign start|status|devices|pause|resume|cancel`. */
export function addCampaignCommands(program: Command): void {
  const campaign = program
    .command('campaign')
    .summary('rotate the secrets of many machines')
    .description('Rotate the secrets of many machines, batch by batch.')
    .addHelpText(
      'after',
      `
A batch begins when each machine of the one before has used its new secret, or has failed to in time. The old secret
of a machine lasts until a minute after the new one was used, so that none is left without. When too many of a batch
fail the campaign pauses.

Examples:
  fleetgate campaign start --selector group=plant-7 --dir /srv/credentials --deliver ./deliver.sh
  fleetgate campaign status
  fleetgate campaign resume --dir /srv/credentials`,
    );

  withConnection(campaign.command('start'))
    .summary('begin a campaign')
    .description('Rotate the secrets of the clients of a selector. Those without a secret are passed over.')
    .requiredOption('--selector <selector>', 'which, as group=plant-7,hw!=rev-a')
    .requiredOption(
      '--dir <dir>',
      'directory of the credentials files, CLIENT_ID.json; the new secret is put into each',
    )
    .option('--deliver <command>', 'shell command that brings the files of a batch to their machines')
    .option('--batch-size <number>', 'machines at a time, up to 500 (default: 100)')
    .option(
      '--confirm-within <duration>',
      'how long a batch has to use its new secrets, such as 30m or 7d (default: 1h)',
    )
    .option(
      '--pause-at <share>',
      'share of a batch that pauses the campaign when it has failed (default: 0.1)',
    )
    .option(
      '--secret-lifetime <duration>',
      'how long after their making the new secrets end (default: never)',
    )
    .option('--broker-url <url>', 'broker written into files that are new (default: the running one)')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
The command of --deliver gets the paths of the files on its standard input, a line each. When it fails the campaign
pauses. Where the machines read the files themselves it is of no use.

Beside the directory stands DIR.campaign until the campaign is done: with it the campaign goes on after a kill. It is
worth as much as the credentials.

Exit codes: 0 all have used their new secret, 3 some have not, 1 it is paused or was stopped.

Examples:
  fleetgate campaign start --selector template=sensor --dir credentials --confirm-within 2d
  fleetgate campaign start --selector group=plant-7 --dir credentials --deliver 'rsync --files-from=- / plant-7:/'`,
    )
    .action(async (flags: StartFlags) => {
      const { admin, brokerUrl, url } = await connect(flags);
      const done = await startCampaign(
        admin,
        {
          plan: planOf(flags),
          directory: flags.dir,
          deliver: flags.deliver,
          brokerUrl: flags.brokerUrl ?? brokerUrl,
          adminUrl: url,
        },
        watch(),
      );
      report(done, flags.dir, flags.format);
    });

  withConnection(campaign.command('status [campaign-id]').alias('list'))
    .summary('show campaigns')
    .description('Show a campaign, or all of them from new to old.')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExamples:\n  fleetgate campaign status\n  fleetgate campaign status 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --format json',
    )
    .action(async (campaignId: string | undefined, flags: CampaignFlags) => {
      const { admin } = await connect(flags);
      process.stdout.write(
        campaignId === undefined
          ? formatCampaigns((await admin.listCampaigns({ limit: 1000 })).campaigns, flags.format)
          : formatOne(await admin.getCampaign(campaignId), flags.format),
      );
    });

  withConnection(campaign.command('devices <campaign-id>'))
    .summary('list the machines of a campaign so far')
    .description('List the machines of a campaign so far, with why one could not be given another secret.')
    .addOption(new Option('--state <state>', 'only those').choices(['confirmed', 'waiting', 'failed']))
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Failed is who has not used its new secret in time, and who has an error: secret_limit_reached has two secrets in use; end
one by 'fleetgate client end-secret'.

Example:
  fleetgate campaign devices 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --state failed`,
    )
    .action(async (campaignId: string, flags: CampaignFlags & { state?: CampaignDeviceView['state'] }) => {
      const devices: CampaignDeviceView[] = [];
      let cursor: string | undefined;
      do {
        const page = await (await connect(flags)).admin.listCampaignDevices(campaignId, {
          limit: 1000,
          cursor,
        });
        devices.push(
          ...page.devices.filter(({ state }) => flags.state === undefined || state === flags.state),
        );
        cursor = page.next_cursor;
      } while (cursor !== undefined);
      const columns = ['client_id', 'state', 'error', 'batch', 'secret_id'];
      process.stdout.write(
        flags.format === 'json'
          ? formatJson(devices)
          : formatRows(flags.format, devices.map(toRow), { table: columns, csv: columns }),
      );
    });

  withConnection(campaign.command('resume'))
    .summary('go on with a campaign that stopped or paused')
    .description('Go on with a campaign that stopped or paused. What failed is left.')
    .requiredOption('--dir <dir>', 'directory of its credentials files')
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExample:\n  fleetgate campaign resume --dir credentials')
    .action(async (flags: CampaignFlags & { dir: string }) => {
      const state = readCampaignFile(flags.dir);
      const isNamed = [flags.adminUrl, flags.data, flags.config].some((option) => option !== undefined);
      const { admin } = await connect({ ...flags, ...(!isNamed && { adminUrl: state.admin_url }) });
      report(await resumeCampaign(admin, state, watch()), flags.dir, flags.format);
    });

  withConnection(campaign.command('pause <campaign-id>'))
    .summary('begin no further batch')
    .description('Begin no further batch of a campaign.')
    .requiredOption('--reason <text>', 'why; shown with the campaign')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      '\nExample:\n  fleetgate campaign pause 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f --reason "night shift"',
    )
    .action(async (campaignId: string, flags: CampaignFlags & { reason: string }) => {
      const paused = await (await connect(flags)).admin.pauseCampaign(campaignId, flags.reason);
      process.stdout.write(formatOne(paused, flags.format));
    });

  withConnection(campaign.command('cancel <campaign-id>'))
    .summary('end a campaign')
    .description(
      'End a campaign. Secrets it made stay, and so do the old ones of machines that have not used them.',
    )
    .addOption(rowFormatOption())
    .addHelpText('after', '\nExample:\n  fleetgate campaign cancel 0b7e2f6e-8d0c-4d5f-9a39-3a6f2c1d4e5f')
    .action(async (campaignId: string, flags: CampaignFlags) => {
      process.stdout.write(
        formatOne(await (await connect(flags)).admin.cancelCampaign(campaignId), flags.format),
      );
    });
}

function planOf(flags: StartFlags) {
  const share = flags.pauseAt === undefined ? undefined : Number(flags.pauseAt);
  if (share !== undefined && !(share > 0 && share <= 1)) {
    throw new UsageError(`--pause-at takes a share of more than 0 and at most 1, not '${flags.pauseAt}'`);
  }
  const size = flags.batchSize === undefined ? undefined : Number(flags.batchSize);
  if (size !== undefined && !(Number.isInteger(size) && size >= 1 && size <= 500)) {
    throw new UsageError(`--batch-size takes a whole number from 1 to 500, not '${flags.batchSize}'`);
  }
  return {
    selector: flags.selector,
    ...(size !== undefined && { batch_size: size }),
    ...(share !== undefined && { pause_at: share }),
    ...(flags.confirmWithin !== undefined && {
      confirm_within_seconds: parseDuration('--confirm-within', flags.confirmWithin),
    }),
    ...(flags.secretLifetime !== undefined && {
      secret_lifetime_seconds: parseDuration('--secret-lifetime', flags.secretLifetime),
    }),
  };
}

function watch() {
  let isStopped = false;
  process.once('SIGINT', () => {
    isStopped = true;
  });
  return {
    begin: (campaign: { readonly total: number; readonly done: number }) =>
      showProgress({ what: 'machines', ...campaign }),
    isStopped: () => isStopped,
  };
}

function report(campaign: CampaignView, directory: string, format: RowFormat): void {
  process.stdout.write(formatOne(campaign, format));
  const { campaign_id, state, reason, failed, selected, selector } = campaign;
  if (state === 'done') {
    if (selected === 0) process.stderr.write(`no client is ${selector}; nothing was rotated\n`);
    if (failed > 0) process.exitCode = EXIT_PARTLY_DONE;
    return;
  }
  const why = reason === undefined ? '' : `: ${reason}`;
  const how = state === 'cancelled' ? '' : `; go on with: fleetgate campaign resume --dir ${directory}`;
  process.stderr.write(`the campaign is ${state}${why}${how}\n`);
  if (failed > 0) {
    process.stderr.write(`who failed: fleetgate campaign devices ${campaign_id} --state failed\n`);
  }
  process.exitCode = EXIT_FAILED;
}

const listed = ['campaign_id', 'state', 'selector', 'batch', 'confirmed', 'failed', 'selected', 'updated_at'];

function formatCampaigns(campaigns: readonly CampaignView[], format: RowFormat): string {
  if (format === 'json') return formatJson(campaigns);
  return formatRows(format, campaigns.map(toRow), { table: listed, csv: listed });
}

function formatOne(campaign: CampaignView, format: RowFormat): string {
  if (format === 'json') return formatJson(campaign);
  const row = toRow(campaign);
  const csv = Object.keys(row);
  return format === 'csv' ? formatRows('csv', [row], { table: csv, csv }) : formatRecord(row);
}
