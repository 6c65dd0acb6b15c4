import { type Command, InvalidArgumentError, Option } from 'commander';
import type { QoS } from './connection.ts';

/** Values of an option that may be given again. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** What the help of a command says that connects beside an agent. */
export const sameClientIdNote = `It connects with the device's own client id: an agent of the same device that runs is cut off, and its session
forgotten. Where the broker binds client ids by prefix, --client-id ID.cli keeps them apart.`;

/** A command of a device that is in: it has a credentials file. */
export function deviceCommand(program: Command, name: string, summary: string): Command {
  return (
    program
      .command(name)
      .summary(summary)
      .option('--credentials <file>', 'credentials file of the device, mode 0600')
      // Not requiredOption, which hides a misspelled --credentials behind "not specified".
      .hook('preAction', (used) => {
        if (used.opts()['credentials'] === undefined) {
          used.error("error: required option '--credentials <file>' not specified");
        }
      })
      .option('--token-endpoint <url>', 'over the one of the credentials or the issuer')
      .option('--token-cache <file>', 'keep the token in this file, 0600, over restarts (default: in memory)')
  );
}

/** Adds the options of a command that connects to the broker. */
export function withBroker(command: Command): Command {
  return command
    .option('--broker <url>', 'mqtt://, mqtts://, ws:// or wss:// address, over the one of the credentials')
    .option('--client-id <id>', 'MQTT client id (default: the client_id of the credentials)');
}

export function formatOption(description: string): Option {
  return new Option('--format <format>', description).choices(['text', 'json']).default('text');
}

export function qosOption(): Option {
  return new Option('--qos <n>', 'quality of service')
    .choices(['0', '1', '2'])
    .argParser((text) => {
      if (!['0', '1', '2'].includes(text)) throw new InvalidArgumentError('It is 0, 1 or 2.');
      return Number(text) as QoS;
    })
    .default(0);
}

/** 1 to 1,000,000. */
export function parseCount(text: string): number {
  // A million: as a number of seconds eleven days, and below the longest timer.
  if (!/^[1-9]\d{0,6}$/.test(text) || Number(text) > 1_000_000) {
    throw new InvalidArgumentError('It is a whole number from 1 to 1000000.');
  }
  return Number(text);
}

export function parseHostAndPort(text: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) {
    throw new InvalidArgumentError('It is HOST:PORT, as 127.0.0.1:9090; port 0 picks a free one.');
  }
  return { host, port: Number(port) };
}
