import { UsageError } from './exit.ts';

const unitSeconds: ReadonlyMap<string, number> = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
  ['w', 604_800],
]);

/** Seconds of what a person writes for a duration: `90s`, `15m`, `12h`, `7d`, `2w`, or seconds as a bare number. */
export function parseDuration(flag: string, text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhdw]?)$/.exec(text) ?? [];
  if (count === undefined)
    throw new UsageError(`${flag} takes a duration such as 90s, 12h or 7d, not '${text}'`);
  return Number(count) * (unitSeconds.get(unit || 's') as number);
}
