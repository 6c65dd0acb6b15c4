import { useEffect, useState } from 'preact/hooks';
import { call, get, Problem, type Session } from './api.ts';
import { Failure } from './parts.tsx';
import { tellSteppedUp } from './step-up.tsx';

/** What can be had besides a key. */
interface Ways {
  readonly oidc?: { readonly provider: string };
}

export function SignIn({ onIn }: { onIn: (session: Session) => void }) {
  const [key, setKey] = useState('');
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const [ways, setWays] = useState<Ways>({});
  useEffect(() => {
    get<Ways>('/sign-in').then(setWays, () => {});
  }, []);
  return (
    <main class="sign-in card">
      <h1>Fleetgate</h1>
      {ways.oidc === undefined ? null : (
        <p>
          <a class="button" href="./oidc/start">
            Sign in with {ways.oidc.provider}
          </a>
        </p>
      )}
      <form
        class="row"
        onSubmit={async (event) => {
          event.preventDefault();
          setBusy(true);
          try {
            const { body } = await call<Session>('POST', '/session', { api_key: key.trim() });
            // A browser keeps the cookie only over TLS or on this very machine.
            await get('/session');
            onIn(body);
          } catch (failure) {
            const isLost = failure instanceof Problem && failure.code === 'signed_out';
            setError(
              isLost
                ? new Error('the browser kept no cookie; open the console over https or on loopback')
                : failure,
            );
            setBusy(false);
          }
          setKey('');
        }}
      >
        <label>
          Admin API key
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            onInput={({ currentTarget }) => setKey(currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={isBusy}>
          Sign in
        </button>
      </form>
      <Failure error={error} />
      <p class="who">
        The key of the data directory is in <code>admin.key</code>. One for a person:{' '}
        <code>fleetgate api-key create me --role auditor</code>
      </p>
    </main>
  );
}

const outcomes: Readonly<Record<string, string>> = {
  oidc_unavailable:
    'The provider cannot be reached. Sign in with an admin API key, and see the log for console_sign_in_refused.',
  oidc_refused:
    'The provider refused, or what it answered does not fit. Try again; the log says what under console_sign_in_refused.',
  oidc_role_unmapped:
    'The provider knows you, and gives you no role that opens this console. Ask for one that console.oidc.roles names.',
  oidc_attempt_unknown:
    'This sign-in took more than ten minutes, was begun in another browser, or came a second time. Try again.',
};

/** What came of a way to the provider and back. */
export function OidcOutcome({ outcome = '' }: { outcome: string | undefined }) {
  const isDone = outcome === 'stepped_up';
  useEffect(() => {
    if (isDone) tellSteppedUp();
  }, [isDone]);
  return (
    <main class="sign-in card">
      <h1>Fleetgate</h1>
      {isDone ? (
        <p role="status">You have signed in anew. Close this tab, and go on in the other.</p>
      ) : (
        <Failure error={new Error(outcomes[outcome] ?? 'The sign-in came to nothing. Try again.')} />
      )}
      <p>
        <a href="#/overview">To the console</a>
      </p>
    </main>
  );
}
