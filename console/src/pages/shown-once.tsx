import { download } from '../download.ts';
import { Copyable } from '../parts.tsx';

/** A secret that nobody can show again. */
export function ShownOnce({ clientId, secret }: { clientId: string; secret: string }) {
  const text = `${JSON.stringify({ client_id: clientId, client_secret: secret }, null, 2)}\n`;
  return (
    <>
      <p>
        <strong>This secret is shown once.</strong> What is kept of it is a hash.
      </p>
      <Copyable text={secret} name="Copy the secret" />
      <button
        type="button"
        class="plain"
        onClick={() => download(`${clientId}.secret.json`, text, 'application/json')}
      >
        Download
      </button>
    </>
  );
}
