import { useEffect, useState } from 'preact/hooks';
import { call, get, type Session, whenSignedOut, whenStepUp } from './api.ts';
import { startLive, stopLive, useLive } from './live.ts';
import { Audit } from './pages/audit.tsx';
import { ClientPage } from './pages/client.tsx';
import { Clients } from './pages/clients.tsx';
import { Keys } from './pages/keys.tsx';
import { Overview } from './pages/overview.tsx';
import { Provisioning } from './pages/provisioning.tsx';
import { Refusals } from './pages/refusals.tsx';
import { Topics } from './pages/topics.tsx';
import { OidcOutcome, SignIn } from './sign-in.tsx';
import { StepUp } from './step-up.tsx';

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
  const {
    path: [page, outcome],
  } = useRoute();
  if (page === 'oidc') return <OidcOutcome outcome={outcome} />;
  if (session === undefined) return <main aria-busy="true" />;
  if (session === 'none') return <SignIn onIn={setSession} />;
  return <Shell session={session} onOut={() => setSession('none')} />;
}

/** As it stands where it is no encoding. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function useRoute(): { readonly path: readonly string[]; readonly query: string } {
  const read = () => {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    return { path: path.split('/').map(decoded), query };
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
          <span title={session.key}>{session.title ?? session.key}</span> ({session.role})
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
        {current.path === 'audit' ? <Audit query={query} /> : null}
        {current.path === 'topics' ? <Topics session={session} /> : null}
      </main>
      {ask === undefined ? null : <StepUp way={session.way} answer={ask.answer} />}
    </>
  );
}
