import { destination, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from './config/schema.ts';

/** The process's logger: lines on stderr, as JSON or for people. stdout is for data. */
export function createLog({ level, format }: Config['log']): Logger {
  const base = { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` };
  if (format === 'json') return pino(base, destination({ fd: 2, sync: true }));
  return pino(
    base,
    pretty({
      destination: 2,
      sync: true,
      colorize: process.stderr.isTTY === true && !process.env['NO_COLOR'],
    }),
  );
}
