import { useEffect, useState } from 'preact/hooks';
import { call, get, Problem, type Session, whenSignedOut, whenStepUp } from './api.ts';
import { startLive, stopLive, useLive } from './live.ts';
import { Audit } from './pages/audit.tsx';
import { ClientPage } from './pages/client.tsx';
import { Clients } from './pages/clients.tsx';
import { Keys } from './pages/keys.tsx';
import { Overview } from './pages/overview.tsx';
import { Provisioning } from './pages/provisioning.tsx';
import { Refusals } from './pages/refusals.tsx';
import { Topics } from './pages/topics.tsx';
import { Dialog, Failure } from './parts.tsx';

const pages = [
  { path: 'overview', name: 'Overview' },
  { path: 'clients', name: 'Clients' },
  { path: 'refusals', name: 'Refusals' },
  { path: 'topics', name: 'Topic access' },
  { path: 'keys', name: 'Keys' },
  { path: 'provisioning', name: 'Provisioning' },
  { path: 'audit', name: 'Audit' },
] as const;

export function App() {
  const [session, setSession] = useState<Session | 'none' | undefined>();
  useEffect(() => {
    whenSignedOut(() => setSession('none'));
    get<Session>('/session').then(setSession, () => setSession('none'));
  }, []);
  const isIn = session !== undefined && session !== 'none';
  useEffect(() => {
    if (!isIn) return;
    startLive();
    return stopLive;
  }, [isIn]);
  if (session === undefined) return <main aria-busy="true" />;
  if (session === 'none') return <SignIn onIn={setSession} />;
  return <Shell session={session} onOut={() => setSession('none')} />;
}

function SignIn({ onIn }: { onIn: (session: Session) => void }) {
  const [key, setKey] = useState('');
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  return (
    <main class="sign-in card">
      <h1>Fleetgate</h1>
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

/** The page in the hash of the address, and what it is asked for: `#/clients?state=quarantined`. */
function useRoute(): { readonly path: readonly string[]; readonly query: string } {
  const read = () => {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    return { path: path.split('/').map(decodeURIComponent), query };
  };
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const follow = () => setRoute(read());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return route;
}

function Shell({ session, onOut }: { session: Session; onOut: () => void }) {
  const {
    path: [page = 'overview', id],
    query,
  } = useRoute();
  const { isConnected } = useLive();
  const [ask, setAsk] = useState<{ answer: (isGiven: boolean) => void } | undefined>();
  useEffect(() => {
    whenStepUp(
      () =>
        new Promise<boolean>((resolve) => {
          setAsk({
            answer(isGiven) {
              setAsk(undefined);
              resolve(isGiven);
            },
          });
        }),
    );
  }, []);
  const current = pages.find(({ path }) => path === page) ?? pages[0];
  useEffect(() => {
    document.title = `${current.name} · Fleetgate`;
  }, [current]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="bar">
        <strong>Fleetgate</strong>
        <nav aria-label="Pages">
          {pages.map(({ path, name }) => (
            <a key={path} href={`#/${path}`} aria-current={path === current.path ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <span class="who">
          <span class={isConnected ? 'state good' : 'state bad'} role="status">
            {isConnected ? 'live' : 'reconnecting'}
          </span>{' '}
          {session.key} ({session.role})
        </span>
        <button
          type="button"
          class="plain"
          onClick={async () => {
            await call('DELETE', '/session').catch(() => {});
            onOut();
          }}
        >
          Sign out
        </button>
      </header>
      <main id="main" tabIndex={-1}>
        {current.path === 'overview' ? <Overview session={session} /> : null}
        {current.path === 'clients' && id === undefined ? <Clients session={session} query={query} /> : null}
        {current.path === 'clients' && id !== undefined ? (
          <ClientPage id={id} session={session} key={id} />
        ) : null}
        {current.path === 'refusals' ? <Refusals /> : null}
        {current.path === 'keys' ? <Keys session={session} /> : null}
        {current.path === 'provisioning' ? <Provisioning session={session} /> : null}
        {current.path === 'audit' ? <Audit /> : null}
        {current.path === 'topics' ? <Topics session={session} /> : null}
      </main>
      {ask === undefined ? null : <StepUp answer={ask.answer} />}
    </>
  );
}

/** The key once more, before what touches many at once. */
function StepUp({ answer }: { answer: (isGiven: boolean) => void }) {
  const [key, setKey] = useState('');
  const [error, setError] = useState<unknown>();
  return (
    <Dialog title="Give the admin API key once more" onClose={() => answer(false)}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await call('POST', '/step-up', { api_key: key.trim() });
            answer(true);
          } catch (failure) {
            setError(failure);
          }
          setKey('');
        }}
      >
        <p>This touches more than one client.</p>
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
        <Failure error={error} />
        <button type="submit">Go on</button>
      </form>
    </Dialog>
  );
}
