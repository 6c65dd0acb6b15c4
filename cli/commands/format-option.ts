import { Option } from 'commander';
import { formats } from '../output.ts';

/** `--format` of a command; the words say what each prints where that is not plain. */
export function formatOption(description = 'table or json'): Option {
  return new Option('--format <format>', description).choices(formats).default('table');
}
