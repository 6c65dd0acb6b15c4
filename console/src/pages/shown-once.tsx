import { useState } from 'preact/hooks';
import { download } from '../download.ts';
import { Copyable, Dialog, NOT_TAKEN } from '../parts.tsx';

/** A secret that nobody can show again. */
export function ShownOnce({
  title,
  clientId,
  secret,
  onClose,
}: {
  title: string;
  clientId: string;
  secret: string;
  onClose: () => void;
}) {
  const [isTaken, setTaken] = useState(false);
  const text = `${JSON.stringify({ client_id: clientId, client_secret: secret }, null, 2)}\n`;
  return (
    <Dialog title={title} warning={isTaken ? undefined : NOT_TAKEN} onClose={onClose}>
      <p>
        <strong>This secret is shown once.</strong> What is kept of it is a hash.
      </p>
      <Copyable text={secret} name="Copy the secret" onCopied={() => setTaken(true)} />
      <button
        type="button"
        class="plain"
        onClick={() => {
          download(`${clientId}.secret.json`, text, 'application/json');
          setTaken(true);
        }}
      >
        Download
      </button>
    </Dialog>
  );
}
