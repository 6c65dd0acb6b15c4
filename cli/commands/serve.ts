import { startTracing } from '@fleetgate/agent/tracing';
import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { dataDirectory } from '../data-directory.ts';
import { createLog } from '../log.ts';
import type { Role, Running } from '../up.ts';

/** Seconds a stop may take before the process ends itself: the contract's 10 s, less a margin. */
const STOP_SECONDS = 9.5;

interface ServeOptions {
  config?: string;
  data?: string;
  set?: string[];
  json?: boolean;
}

const serving: readonly { name: string; summary: string; roles: readonly Role[] }[] = [
  { name: 'up', summary: 'run issuer and broker in one process', roles: ['issuer', 'broker'] },
  { name: 'issuer', summary: 'run the issuer alone', roles: ['issuer'] },
  { name: 'broker', summary: 'run the broker alone; it trusts broker.trusted_issuers', roles: ['broker'] },
];

/** `fleetgate up`, `issuer`, `broker` and `demo`. */
export function addServeCommands(program: Command): void {
  for (const { name, summary, roles } of serving) {
    program
      .command(name)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
      .summary(summary)
      .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
      .option(
        '--data <dir>',
        "data directory (FLEETGATE_DATA_DIR), './fleetgate-data' by default; made at the first start",
      )
      .option('--set <key=value>', 'set one configuration key; may be given again', collect)
      .option('--json', 'print the ready line as JSON')
      .addHelpText(
        'after',
        `
The ready line on stdout says that every listener accepts; log lines go to stderr.
SIGTERM and SIGINT stop it: what is in flight is finished, then it exits 0, within 10 s.
SIGHUP reads certificates${roles.includes('broker') ? ' and policy again and opens the audit file' : ''} again; connections stay.

Examples:
${examples(name, roles)}`,
      )
      .action((options: ServeOptions) => serve(options, roles));
  }
  program
    .command('demo')
    .summary('see a small fleet get tokens and be held to its topics')
    .description('Run issuer, broker and a small fleet in a temporary directory, show each step, and end.')
    .addHelpText('after', '\nExample:\n  fleetgate demo')
    .action(async () => {
      const { demo } = await import('../demo/demo.ts');
      await demo();
    });
}

function examples(name: string, roles: readonly Role[]): string {
  const freePorts = roles.includes('broker') ? ' --set broker.listeners.0.port=0' : '';
  const config = `  fleetgate ${name} --config fleetgate.yaml --set log.format=pretty`;
  if (roles.includes('issuer')) {
    return `  fleetgate ${name} --data ./fleet
  fleetgate ${name} --data ./fleet --json --set admin.port=0${freePorts}
${config}`;
  }
  return `  fleetgate ${name} --data ./broker --set admin.port=8082 \\
      --set broker.trusted_issuers.0.issuer=http://127.0.0.1:8080 \\
      --set broker.trusted_issuers.0.jwks_uri=http://127.0.0.1:8080/.well-known/jwks.json
${config}

It opens the admin port as well, for /livez and /readyz.`;
}

/** Runs the roles until a signal asks to stop. */
async function serve(options: ServeOptions, roles: readonly Role[]): Promise<void> {
  const { config, dataPath } = loadConfig(options, roles);
  const log = createLog(config.log);
  const tracing = await startTracing({
    serviceName: roles.length === 1 ? `fleetgate-${roles[0]}` : 'fleetgate',
    onProblem: (words) => log.warn({ event: 'traces_not_exported' }, words),
  });
  // Loaded here: commands that only talk to an API start without a database and a broker.
  const { up } = await import('../up.ts');
  const stopAsked = new Promise<string>((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'));
    process.once('SIGINT', () => resolve('SIGINT'));
  });
  let running: Running | undefined;
  // Without a listener it would end the process, also while it starts.
  process.on('SIGHUP', () => void running?.reload());
  running = await up(config, dataDirectory(dataPath), log, roles);
  process.stdout.write(options.json ? readyJson(running.ready) : readyText(running.ready));
  const signal = await stopAsked;
  log.info({ event: 'stopping', signal }, 'stopping');
  setTimeout(() => {
    log.error({ event: 'stop_timeout' }, 'not everything closed in time');
    process.exit(1);
  }, STOP_SECONDS * 1000).unref();
  await running.close();
  await tracing?.stop();
  log.info({ event: 'stopped' }, 'stopped');
}

function readyJson(ready: object): string {
  return `${JSON.stringify({ event: 'ready', ...ready })}\n`;
}

function readyText(ready: object): string {
  const addresses = Object.entries(ready).map(([name, value]) => `${name} ${value}`);
  return `ready: ${addresses.join(', ')}\n`;
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}
