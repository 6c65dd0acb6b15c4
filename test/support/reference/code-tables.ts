import { codesByKind } from '../../../cli/explained-codes.ts';
import { table } from './table.ts';

/** A table of codes for each kind. */
export function codeTables(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(codesByKind).map(([kind, codes]) => [
      `${kind}s`,
      table(
        ['code', 'when, and what to do'],
        Object.entries(codes).map(([code, text]) => [`\`${code}\``, text]),
      ),
    ]),
  );
}
