import { Option } from 'commander';
import { formats, rowFormats } from '../output.ts';

/** `--format` of a command; the words say what each prints where that is not plain. */
export function formatOption(description = 'table or json'): Option {
  return new Option('--format <format>', description).choices(formats).default('table');
}

/** `--format` of a command whose data are rows. */
export function rowFormatOption(): Option {
  return new Option('--format <format>', 'table, json or csv').choices(rowFormats).default('table');
}
