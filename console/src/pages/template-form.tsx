import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { Dialog, Failure } from '../parts.tsx';
import { ScopeNotes, useScopeNotes } from '../scope-notes.tsx';
import type { Template } from './templates.tsx';

const methods = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
  'oscore',
] as const;

const texts = [
  { name: 'id', label: 'Client ids, as sensor-{serial}', isRequired: true },
  { name: 'scope', label: 'Scopes, separated by spaces' },
  { name: 'name', label: 'Name, for people; may have {serial}' },
  { name: 'group', label: 'Group; may have {line}' },
] as const;

const numbers = [
  { name: 'token_lifetime_seconds', label: 'Tokens live, in seconds' },
  { name: 'secret_lifetime_seconds', label: 'Secrets live, in seconds; empty: they do not end' },
] as const;

/** Makes a template, or a new version of one. What the form does not show stays as it is. */
export function TemplateForm({ current, onClose }: { current: Template | undefined; onClose: () => void }) {
  const [error, setError] = useState<unknown>();
  const { notes, tell } = useScopeNotes();
  const before = current?.template;
  const title = current === undefined ? 'Make a template' : `Edit ${current.name}`;
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const given = new FormData(event.currentTarget);
          const name = current?.name ?? `${given.get('template')}`;
          try {
            const body = bodyOf(given, before);
            if (await tell({ scope: textIn(body['scope']), audience: body['audience'] })) return;
            await call('PUT', `/v1/templates/${encodeURIComponent(name)}`, body);
            onClose();
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        {current === undefined ? (
          <label>
            Name of the template
            <input name="template" required pattern="[A-Za-z0-9._\-]{1,64}" spellcheck={false} />
          </label>
        ) : (
          <p>A new version. Clients that are there keep what they were made with.</p>
        )}
        {texts.map(({ name, label, ...rest }) => (
          <label key={name}>
            {label}
            <input
              name={name}
              required={'isRequired' in rest}
              spellcheck={false}
              defaultValue={textIn(before?.[name])}
            />
          </label>
        ))}
        <label>
          Authentication
          <select name="auth_method">
            {methods.map((method) => (
              <option key={method} value={method} selected={method === (before?.auth_method ?? methods[0])}>
                {method}
              </option>
            ))}
          </select>
        </label>
        {numbers.map(({ name, label }) => (
          <label key={name}>
            {label}
            <input name={name} type="number" min={1} defaultValue={textIn(before?.[name])} />
          </label>
        ))}
        <label>
          Labels, as hw=rev-a, one a line
          <textarea name="labels" rows={2} spellcheck={false} defaultValue={labelLines(before?.labels)} />
        </label>
        <label>
          Metadata, a JSON object
          <textarea
            name="metadata"
            rows={2}
            spellcheck={false}
            defaultValue={before?.metadata === undefined ? '' : JSON.stringify(before.metadata)}
          />
        </label>
        <ScopeNotes notes={notes} />
        <Failure error={error} />
        <button type="submit">{notes.length === 0 ? 'Keep' : 'Keep all the same'}</button>
      </form>
    </Dialog>
  );
}

/** @throws Error in words, for what the API could not be told */
function bodyOf(given: FormData, before: Template['template'] | undefined): Record<string, unknown> {
  const text = (name: string) => `${given.get(name) ?? ''}`.trim();
  const shown: Record<string, unknown> = {
    ...Object.fromEntries(texts.map(({ name }) => [name, text(name)])),
    auth_method: text('auth_method'),
    ...Object.fromEntries(numbers.map(({ name }) => [name, text(name) === '' ? '' : Number(text(name))])),
    labels: text('labels') === '' ? '' : labelsIn(text('labels')),
    metadata: text('metadata') === '' ? '' : objectIn(text('metadata')),
  };
  return Object.fromEntries(Object.entries({ ...before, ...shown }).filter(([, value]) => value !== ''));
}

function labelsIn(lines: string): Record<string, string> {
  const pairs = lines
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 1) throw new Error(`a label is NAME=VALUE, not ${pair}`);
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}

function objectIn(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {}
  throw new Error('metadata must be a JSON object, as {"site": "ulm"}');
}

const textIn = (value: unknown) => (value === undefined ? '' : String(value));
const labelLines = (labels: Record<string, string> = {}) =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n');
