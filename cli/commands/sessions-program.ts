import type { ClusterSession, ClusterSessions } from '@fleetgate/broker';
import { FleetgateError } from '@fleetgate/shared';
import type { Command } from 'commander';
import { clusterOptions, clusterProblems } from '../config/cluster.ts';
import { readConfig } from '../config/read.ts';
import { EXIT_PARTLY_DONE, UsageError } from '../exit.ts';
import { type Format, formatJson, formatRecord, formatRows, type Row, type RowFormat } from '../output.ts';
import { formatOption, rowFormatOption } from './format-option.ts';

interface PlaceFlags {
  config?: string;
  set?: string[];
}

interface ListFlags extends PlaceFlags {
  client?: string;
  live?: boolean;
  kept?: boolean;
  format: RowFormat;
}

interface CutFlags extends PlaceFlags {
  client?: string;
  forget?: boolean;
  format: Format;
}

/** `fleetgate sessions list|show|cut`. */
export function addSessionsCommands(program: Command): void {
  const sessions = program
    .command('sessions')
    .summary('list and cut sessions of brokers on one Redis')
    .description('List, show and cut the sessions of all brokers that share the Redis of broker.cluster.')
    .addHelpText(
      'after',
      `
They are read from Redis itself: run it with the configuration of any of the brokers. Cutting ends a connection; the
device may come back at once. What keeps it away: fleetgate client quarantine, fleetgate revoke client.

Examples:
  fleetgate sessions list --config broker.yaml --live
  fleetgate sessions show sensor-1 --config broker.yaml
  fleetgate sessions cut sensor-1 --config broker.yaml`,
    );

  withPlace(sessions.command('list'))
    .summary('list sessions')
    .description('List the sessions of all brokers, live or kept for devices that are away.')
    .option('--client <id>', 'of this client alone, whatever the MQTT client ids')
    .option('--live', 'those with a connection')
    .option('--kept', 'those without one')
    .addOption(rowFormatOption())
    .addHelpText(
      'after',
      `
Examples:
  fleetgate sessions list --config broker.yaml --kept
  fleetgate sessions list --config broker.yaml --format json | jq 'map(select(.queued_messages > 100))'`,
    )
    .action((flags: ListFlags) =>
      using(flags, async (all) => {
        const rows: Row[] = [];
        for await (const session of all.list()) {
          if (flags.client !== undefined && session.clientId !== flags.client) continue;
          if ((flags.live === true || flags.kept === true) && flags[session.state] !== true) continue;
          rows.push(toView(session));
        }
        rows.sort((a, b) => (String(a['session']) < String(b['session']) ? -1 : 1));
        process.stdout.write(
          flags.format === 'json' ? formatJson(rows) : formatRows(flags.format, rows, columns),
        );
      }),
    );

  withPlace(sessions.command('show <session>'))
    .summary('show one session')
    .description('Show the session of an MQTT client id: whose it is, where, its filters and its queue.')
    .addOption(formatOption())
    .addHelpText('after', '\nExample:\n  fleetgate sessions show sensor-1 --config broker.yaml')
    .action((id: string, flags: PlaceFlags & { format: Format }) =>
      using(flags, async (all) => {
        const session = await all.show(id);
        if (session === undefined) throw unknown(id);
        const { filters, underWay } = session;
        const view = { ...toView(session), under_way: underWay };
        process.stdout.write(
          flags.format === 'json'
            ? formatJson({ ...view, filters })
            : formatRecord({
                ...view,
                filters: filters.map(({ filter, qos }) => `${filter} (QoS ${qos})`).join(', '),
              }),
        );
      }),
    );

  withPlace(sessions.command('cut [sessions...]'))
    .summary('end the connections of sessions')
    .description('End the connections of sessions, by MQTT client id, whichever broker has them.')
    .option('--client <id>', 'all sessions of this client')
    .option('--forget', 'also what is kept of them: filters, and messages that wait')
    .addOption(formatOption())
    .addHelpText(
      'after',
      `
Exit code 3 when some had nothing to cut, 1 when none had. A session without a connection is ended by --forget.

Examples:
  fleetgate sessions cut sensor-1 sensor-2 --config broker.yaml
  fleetgate sessions cut --client gateway-7 --forget --config broker.yaml`,
    )
    .action((named: string[], flags: CutFlags) => {
      if ((named.length === 0) === (flags.client === undefined)) {
        throw new UsageError('name sessions by their MQTT client ids, or all of a client with --client');
      }
      return using(flags, (all) => cut(all, named, flags));
    });
}

async function cut(all: ClusterSessions, named: readonly string[], flags: CutFlags): Promise<void> {
  const forget = flags.forget === true;
  const ids = flags.client === undefined ? named : await idsOf(all, flags.client, forget);
  const results: { session: string; result: 'cut' | 'kept' | 'unknown' }[] = [];
  for (const session of ids) {
    const isCut = await all.cut(session, forget);
    const isKept = !isCut && !forget && (await all.show(session)) !== undefined;
    results.push({ session, result: isCut ? 'cut' : isKept ? 'kept' : 'unknown' });
  }
  const columns = ['session', 'result'];
  process.stdout.write(
    flags.format === 'json'
      ? formatJson(results)
      : formatRows('table', results, { table: columns, csv: columns }),
  );
  const done = results.filter(({ result }) => result === 'cut').length;
  process.stderr.write(`${done} of ${results.length} sessions cut\n`);
  if (done === results.length) return;
  const kept = results.filter(({ result }) => result === 'kept').map(({ session }) => session);
  const words =
    kept.length === 0 ? '' : `${kept.join(', ')} has no connection and is kept; --forget ends what is kept`;
  if (done === 0 && named.length > 0) {
    throw kept.length === 0 ? unknown(named.join(', ')) : new FleetgateError('session_unknown', words);
  }
  if (words !== '') process.stderr.write(`${words}\n`);
  process.exitCode = EXIT_PARTLY_DONE;
}

async function idsOf(all: ClusterSessions, clientId: string, forget: boolean): Promise<string[]> {
  const ids: string[] = [];
  for await (const session of all.list()) {
    if (session.clientId === clientId && (session.state === 'live' || forget)) ids.push(session.id);
  }
  return ids;
}

const columns = {
  table: ['session', 'client', 'state', 'connected_at', 'token_expires_at', 'queued_messages', 'address'],
  csv: [
    'session',
    'client',
    'issuer',
    'state',
    'kept',
    'connected_at',
    'token_expires_at',
    'queued_messages',
    'queued_bytes',
    'address',
    'protocol',
    'broker',
  ],
};

function toView(session: ClusterSession): Record<string, string | number | boolean | undefined> {
  const { id, clientId, issuer, state, isKept, startedAtMs, expiresAtSeconds } = session;
  return {
    session: id,
    client: clientId,
    issuer,
    state,
    kept: isKept,
    connected_at: startedAtMs === undefined ? undefined : new Date(startedAtMs).toISOString(),
    token_expires_at: new Date(expiresAtSeconds * 1000).toISOString(),
    queued_messages: session.queuedMessages,
    queued_bytes: session.queuedBytes,
    address: session.address,
    protocol: session.protocol,
    broker: session.broker,
  };
}

function withPlace(command: Command): Command {
  return command
    .option('--config <file>', 'configuration of one of the brokers (FLEETGATE_CONFIG)')
    .option(
      '--set <key=value>',
      'set one key of it, as in --set broker.cluster.redis=redis://127.0.0.1',
      (value: string, before: string[] = []) => [...before, value],
    );
}

async function using(flags: PlaceFlags, act: (all: ClusterSessions) => Promise<void>): Promise<void> {
  const { cluster } = readConfig(flags).config.broker;
  const problems = clusterProblems(cluster);
  if (problems.length > 0) throw new FleetgateError('config_invalid', problems.join('\n'));
  if (cluster === undefined) {
    throw new FleetgateError(
      'not_supported',
      'broker.cluster.redis is not set: sessions can be listed where brokers share a Redis; ' +
        'name the configuration of one of them with --config',
    );
  }
  const { openClusterSessions } = await import('@fleetgate/broker');
  const all = await openClusterSessions(clusterOptions(cluster));
  try {
    await act(all);
  } finally {
    all.close();
  }
}

function unknown(ids: string): FleetgateError {
  return new FleetgateError(
    'session_unknown',
    `there is no session ${ids}; fleetgate sessions list has them`,
  );
}
