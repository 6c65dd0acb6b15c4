import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Client } from '../api.ts';
import { Dialog, Failure } from '../parts.tsx';

/** What is asked about before it is done. `end`: the secret of that id. */
export type Asked =
  | { readonly act: 'rotate' | 'quarantine' | 'release' | 'delete' }
  | { readonly act: 'end'; readonly secretId: string; readonly isLast: boolean };

/** A request below the path of the client. */
export type Act = (method: string, suffix: string, body?: unknown) => Promise<void>;

interface AskProps {
  readonly client: Client;
  readonly error: unknown;
  readonly onClose: () => void;
  readonly act: Act;
}

/** Before what changes much, what will happen. */
export function Ask({ asked, ...props }: AskProps & { readonly asked: Asked }) {
  switch (asked.act) {
    case 'rotate':
      return <AskRotate {...props} />;
    case 'quarantine':
      return <AskQuarantine {...props} />;
    case 'release':
      return <AskRelease {...props} />;
    case 'delete':
      return <AskDelete {...props} />;
    case 'end':
      return <AskEnd {...props} secretId={asked.secretId} isLast={asked.isLast} />;
  }
}

/** What becomes of the old secret, as bodies of `POST …/secrets`. */
const overlaps = [
  { words: 'the old one goes on for 7 days', body: { overlap_seconds: 7 * 86_400 } },
  { words: 'the old one ends when the new one is used', body: { until_new_is_used: true } },
  {
    words: 'the old one ends now, and its tokens are revoked',
    body: { overlap_seconds: 0, revoke_tokens: true },
  },
] as const;

function AskRotate({ client, error, onClose, act }: AskProps) {
  const [chosen, setChosen] = useState(0);
  return (
    <Question
      title={`New secret for ${client.client_id}`}
      verb="Make it"
      isGrave={chosen === 2}
      error={error}
      onClose={onClose}
      onYes={() => act('POST', '/secrets', overlaps[chosen]?.body)}
    >
      <fieldset class="choices">
        <legend>Until the device has the new one</legend>
        {overlaps.map(({ words }, at) => (
          <label class="check" key={words}>
            <input type="radio" name="overlap" checked={at === chosen} onChange={() => setChosen(at)} />
            {words}
          </label>
        ))}
      </fieldset>
      {chosen === 2 ? <p>Its sessions end at once; it gets tokens by the new secret alone.</p> : null}
    </Question>
  );
}

function AskQuarantine({ client, error, onClose, act }: AskProps) {
  const [reason, setReason] = useState('');
  return (
    <Question
      title={`Quarantine ${client.client_id}`}
      verb="Quarantine"
      isGrave
      error={error}
      onClose={onClose}
      onYes={() => act('POST', '/quarantine', reason === '' ? {} : { reason })}
    >
      <p>Its tokens are revoked, its sessions end at once, and it gets no new ones until it is released.</p>
      <label>
        Reason, for the audit trail
        <input value={reason} onInput={({ currentTarget }) => setReason(currentTarget.value)} />
      </label>
    </Question>
  );
}

function AskRelease({ client, error, onClose, act }: AskProps) {
  return (
    <Question
      title={`Release ${client.client_id}`}
      verb="Release"
      error={error}
      onClose={onClose}
      onYes={() => act('POST', '/release')}
    >
      <p>
        {client.quarantine_reason === undefined
          ? 'It is in quarantine; no reason was given.'
          : `It is in quarantine because: ${client.quarantine_reason}`}
      </p>
      <p>
        Its secrets are good again. If one may have been seen, first make a new secret that ends the old one
        now.
      </p>
    </Question>
  );
}

function AskDelete({ client: { client_id: id }, error, onClose, act }: AskProps) {
  const [typed, setTyped] = useState('');
  return (
    <Question
      title={`Delete ${id}`}
      verb="Delete"
      isGrave
      isDisabled={typed !== id}
      error={error}
      onClose={onClose}
      onYes={() => act('DELETE', '')}
    >
      <p>Its tokens are revoked, its sessions end at once, and its id is free again.</p>
      <label>
        Type {id} to confirm
        <input required value={typed} onInput={({ currentTarget }) => setTyped(currentTarget.value)} />
      </label>
    </Question>
  );
}

function AskEnd({ secretId, isLast, error, onClose, act }: AskProps & { secretId: string; isLast: boolean }) {
  return (
    <Question
      title={`End secret ${secretId}`}
      verb="End"
      isGrave
      error={error}
      onClose={onClose}
      onYes={() => act('DELETE', `/secrets/${encodeURIComponent(secretId)}`)}
    >
      <p>It cannot be used from now on. Tokens that it got stay good until they expire.</p>
      {isLast ? (
        <p>It is the last live one: by secret the client gets no token until it has a new one.</p>
      ) : null}
    </Question>
  );
}

function Question({
  title,
  verb,
  isGrave,
  isDisabled,
  error,
  onClose,
  onYes,
  children,
}: {
  title: string;
  verb: string;
  isGrave?: boolean;
  isDisabled?: boolean;
  error: unknown;
  onClose: () => void;
  onYes: () => Promise<void>;
  children: ComponentChildren;
}) {
  const [isBusy, setBusy] = useState(false);
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setBusy(true);
          void onYes().finally(() => setBusy(false));
        }}
      >
        {children}
        <Failure error={error} />
        <button
          type="submit"
          class={isGrave === true ? 'grave' : ''}
          disabled={isBusy || isDisabled === true}
        >
          {verb}
        </button>
      </form>
    </Dialog>
  );
}
