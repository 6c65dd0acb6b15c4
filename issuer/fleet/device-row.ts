import type { DeviceRow } from './template.ts';
import { reservedNames } from './template.ts';

/** A row as it came: what could be read of it, or why it could not. */
export type GivenRow = DeviceRow | { readonly unreadable: string };

// Limits of one row, ours: what a spreadsheet's line holds.
const MAX_VALUES = 64;
const MAX_VALUE_LENGTH = 1024;

const labelPrefix = 'labels.';
const namePattern = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;

/** Reads a row, as JSON has it or as a line of CSV: an empty text is as nothing. */
export function readRow(row: Readonly<Record<string, unknown>>): GivenRow {
  const entries = Object.entries(row).filter(([, value]) => value !== '' && value !== null);
  if (entries.length > MAX_VALUES) return { unreadable: `the row has more than ${MAX_VALUES} values` };
  const fields = new Map<string, unknown>();
  const labels = new Map<string, string>();
  const values = new Map<string, string>();
  for (const [name, value] of entries) {
    if (name === 'labels') {
      const given = readLabels(value);
      if (given === undefined) return { unreadable: 'labels must be an object of texts' };
      for (const [label, text] of given) labels.set(label, text);
      continue;
    }
    if (name === 'jwks' || name === 'public_jwk') {
      const key = readKey(value);
      if (key === undefined) return { unreadable: `${name} must be a JSON object` };
      fields.set('jwks', name === 'jwks' ? key : { keys: [key] });
      continue;
    }
    if (typeof value !== 'string' && typeof value !== 'number') {
      return { unreadable: `${shown(name)} must be a text or a number` };
    }
    const text = String(value);
    if (text.length > MAX_VALUE_LENGTH) {
      return { unreadable: `${shown(name)} is longer than ${MAX_VALUE_LENGTH} characters` };
    }
    if (name.startsWith(labelPrefix)) labels.set(name.slice(labelPrefix.length), text);
    else if (name === 'client_id') fields.set('clientId', text);
    else if (name === 'name' || name === 'group') fields.set(name, text);
    else if (reservedNames.has(name))
      return { unreadable: `${name} is filled by Fleetgate; name the column otherwise` };
    else if (namePattern.test(name)) values.set(name, text);
  }
  return {
    ...Object.fromEntries(fields),
    ...(labels.size > 0 && { labels: Object.fromEntries(labels) }),
    values,
  };
}

function readLabels(value: unknown): [string, string][] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value);
  return entries.every(([, text]) => typeof text === 'string') ? (entries as [string, string][]) : undefined;
}

/** CSV has it as text. */
function readKey(value: unknown): object | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  if (typeof value !== 'string') return undefined;
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const shown = (name: string) => `'${name.slice(0, 64)}'`;
