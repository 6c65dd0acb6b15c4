import { isIdentifier, nearest, OAuthError } from '@fleetgate/shared';
import {
  isTimeField,
  type TimeCondition,
  timeComparison,
  timeFields,
  timePresence,
} from './time-condition.ts';

/** What a condition looks at: a field of the client, or one of its labels. */
export type Subject = SubjectField | { readonly label: string };

const subjectFields = [
  'client_id',
  'group',
  'state',
  'auth_method',
  'template',
  'job',
  'enrollment',
] as const;
export type SubjectField = (typeof subjectFields)[number];

export type Condition = ValueCondition | TimeCondition;

/** `not_in` and `absent` also hold for a client that does not have the field. */
export interface ValueCondition {
  readonly subject: Subject;
  readonly operator: 'in' | 'not_in' | 'present' | 'absent' | 'prefix';
  /** Empty for `present` and `absent`, one for `prefix`. */
  readonly values: readonly string[];
}

/** Clients for which each condition holds. Empty: all. */
export type Selector = readonly Condition[];

// Limits of one selector, ours: what a person writes, and a statement that SQLite prepares in well under a millisecond.
const MAX_SELECTOR_LENGTH = 4096;
const MAX_CONDITIONS = 16;
const MAX_VALUES = 100;
const MAX_VALUE_LENGTH = 256;

const labelPrefix = 'labels.';

/**
 * Reads a selector, as `group=plant-7,hw!=rev-a,line in (a,b),spare,!retired`: conditions that all must hold, in the
 * grammar of Kubernetes' label selectors. A name is a field ({@link SubjectField}) or else a label; `labels.NAME` is a
 * label of a field's name. `client_id` also takes a beginning, as `client_id=press-*`; `==` is `=`. As to times see
 * {@link TimeCondition}.
 * @throws OAuthError `invalid_request`, saying how it is to be written
 */
export function parseSelector(text: string): Selector {
  if (text.length > MAX_SELECTOR_LENGTH) {
    invalid(`a selector must be at most ${MAX_SELECTOR_LENGTH} characters`);
  }
  const parts = text.match(/(?:[^,(]|\([^)]*\)?)+/g) ?? [];
  if (parts.length === 0) invalid('the selector is empty; to take all clients write client_id');
  if (parts.length > MAX_CONDITIONS) invalid(`a selector must have at most ${MAX_CONDITIONS} conditions`);
  if (/^\s*,|,\s*,|,\s*$/.test(text)) invalid('the selector has a comma too many');
  return parts.map((part) => parseCondition(part.trim()));
}

function parseCondition(part: string): Condition {
  const list = /^(\S+)\s+(in|notin)\s*\((.*)\)$/.exec(part);
  if (list !== null) {
    const [, name = '', word, values = ''] = list;
    return condition(
      name,
      word === 'in' ? 'in' : 'not_in',
      values.split(',').map((value) => value.trim()),
    );
  }
  const time = /^([^!=<>\s]+)\s*([<>])\s*(.*)$/s.exec(part);
  if (time !== null) return timeComparison(time[1] ?? '', time[2] === '<' ? 'less' : 'more', time[3] ?? '');
  const comparison = /^([^!=\s]+)\s*(!=|==?)\s*(.*)$/s.exec(part);
  if (comparison !== null) {
    const [, name = '', sign, value = ''] = comparison;
    if (name === 'client_id' && value.endsWith('*')) return beginning(sign, value.slice(0, -1));
    // Else it would select nobody, and by != everybody.
    if (value.endsWith('*')) {
      invalid(
        `only client_id=…* takes a beginning; a value that ends in * is written ${name.slice(0, 64)} in (…*)`,
      );
    }
    return condition(name, sign === '!=' ? 'not_in' : 'in', [value]);
  }
  const presence = /^(!?)\s*([^\s()!=]+)$/.exec(part);
  if (presence !== null) {
    const [, sign, name = ''] = presence;
    const operator = sign === '!' ? 'absent' : 'present';
    return isTimeField(name) ? timePresence(name, operator) : condition(name, operator, []);
  }
  return invalid(
    `'${part.slice(0, 64)}' is no condition; write name=value, name!=value, name in (a,b), name notin (a,b), name or !name`,
  );
}

function beginning(sign: string | undefined, prefix: string): Condition {
  if (sign === '!=') invalid('client_id!=…* is not supported; name what is wanted instead');
  if (!isIdentifier(prefix))
    invalid('what stands before the * of a client_id must match [A-Za-z0-9._-]{1,64}');
  return { subject: 'client_id', operator: 'prefix', values: [prefix] };
}

function condition(
  name: string,
  operator: ValueCondition['operator'],
  values: readonly string[],
): ValueCondition {
  if (values.length > MAX_VALUES) invalid(`a condition must have at most ${MAX_VALUES} values`);
  for (const value of values) {
    if (value === '' || value.length > MAX_VALUE_LENGTH) {
      invalid(
        `a value must have 1 to ${MAX_VALUE_LENGTH} characters; whether there is one asks 'name' or '!name'`,
      );
    }
  }
  const subject = subjectOf(name);
  if (subject === 'client_id') {
    const wrong = values.find((value) => !isIdentifier(value));
    if (wrong !== undefined) {
      invalid(
        'a client_id must match [A-Za-z0-9._-]{1,64}; a beginning is a condition alone, as client_id=press-*',
      );
    }
  }
  if (subject === 'state') {
    const wrong = values.find((value) => value !== 'active' && value !== 'quarantined');
    if (wrong !== undefined) invalid('state is active or quarantined');
  }
  return { subject, operator, values };
}

function subjectOf(name: string): Subject {
  const field = subjectFields.find((one) => one === name);
  if (field !== undefined) return field;
  if (isTimeField(name)) {
    invalid(`${name} has no such values; write ${timeFields[name]}, or labels.${name} for a label`);
  }
  const label = name.startsWith(labelPrefix) ? name.slice(labelPrefix.length) : name;
  if (!isIdentifier(label)) {
    const fields = [...subjectFields, ...Object.keys(timeFields)];
    const near = nearest(name, fields);
    const hint = near === undefined ? `a field is ${fields.join(', ')}` : `did you mean ${near}?`;
    return invalid(`'${name.slice(0, 64)}' is neither a field nor the name of a label; ${hint}`);
  }
  return { label };
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
