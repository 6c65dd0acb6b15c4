import { destination, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from './config/schema.ts';

/** Characters of log lines that may wait for a slow reader of stderr: some ten thousand lines. */
const MAX_BUFFERED_LENGTH = 4_194_304;

/** The process's logger: lines on stderr, as JSON or for people. stdout is for data. */
export function createLog({ level, format }: Config['log']): Logger {
  const base = { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` };
  // Not synchronous: a slow reader of stderr would stop everything. Beyond the bound lines are dropped.
  if (format === 'json')
    return pino(base, destination({ fd: 2, sync: false, maxLength: MAX_BUFFERED_LENGTH }));
  return pino(
    base,
    pretty({
      destination: 2,
      sync: true,
      colorize: process.stderr.isTTY === true && !process.env['NO_COLOR'],
    }),
  );
}
