import { useState } from 'preact/hooks';
import { call, type Session } from '../api.ts';
import { Empty, Failure, when } from '../parts.tsx';
import { type Explanation, Trace } from '../trace.tsx';
import { PolicyDifference } from './policy-difference.tsx';
import { TopicMatrix } from './topic-matrix.tsx';

interface Decided extends Explanation {
  /** What the token says, where one was given. */
  readonly token?: {
    readonly client_id: string;
    readonly issuer: string;
    readonly scopes: readonly string[];
    readonly expires_at: number;
    readonly is_bound: boolean;
  };
}

interface Who {
  readonly clients: readonly string[];
  readonly looked_at: number;
  readonly complete: boolean;
}

const actions = ['publish', 'subscribe', 'receive'] as const;

/** What the topic policy allows, and what another one would. */
export function Topics({ session }: { session: Session }) {
  if (!session.roles.includes('broker')) {
    return <Empty>No broker runs in this process; the policy is that of the brokers.</Empty>;
  }
  return (
    <>
      <h1>Topic access</h1>
      <TopicMatrix />
      <Simulator />
      <WhoMay />
      <PolicyDifference />
    </>
  );
}

function Simulator() {
  const [whose, setWhose] = useState('client');
  const [result, setResult] = useState<Decided | undefined>();
  const [error, setError] = useState<unknown>();
  return (
    <section class="card" aria-label="Try an attempt">
      <h2>Try an attempt</h2>
      <form
        class="filter"
        onSubmit={async (event) => {
          event.preventDefault();
          const { qos, retain, ...fields } = Object.fromEntries(new FormData(event.currentTarget));
          // A token is not kept in the page.
          const token = event.currentTarget.elements.namedItem('token');
          if (token instanceof HTMLInputElement) token.value = '';
          setError(undefined);
          setResult(undefined);
          try {
            const question = { ...fields, qos: Number(qos), retain: retain === 'on' };
            setResult((await call<Decided>('POST', '/decide', question)).body);
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <label>
          Who
          <select value={whose} onChange={({ currentTarget }) => setWhose(currentTarget.value)}>
            <option value="client">a client</option>
            <option value="token">who holds a token</option>
          </select>
        </label>
        {whose === 'client' ? (
          <label key="client">
            Client
            <input name="client_id" required spellcheck={false} />
          </label>
        ) : (
          <label key="token">
            Access token
            <input name="token" type="password" autocomplete="off" required spellcheck={false} />
          </label>
        )}
        <Action />
        <label>
          Topic, or filter
          <input name="topic" required spellcheck={false} />
        </label>
        <label>
          QoS
          <select name="qos">
            <option>0</option>
            <option>1</option>
            <option>2</option>
          </select>
        </label>
        <label class="check">
          <input type="checkbox" name="retain" /> Retained
        </label>
        <button type="submit">Decide</button>
      </form>
      <Failure error={error} />
      {result === undefined ? null : <Trace explanation={result} />}
      {result?.token === undefined ? null : (
        <p class="who">
          A token of {result.token.client_id} by {result.token.issuer}, for{' '}
          {result.token.scopes.join(' ') || 'no scope'}, until {when(result.token.expires_at * 1000)}
          {result.token.is_bound ? '; a CONNECT with it wants the certificate it is bound to' : ''}.
        </p>
      )}
    </section>
  );
}

function WhoMay() {
  const [result, setResult] = useState<Who | undefined>();
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  return (
    <section class="card" aria-label="Who may" aria-busy={isBusy}>
      <h2>Who may</h2>
      <form
        class="filter"
        onSubmit={async (event) => {
          event.preventDefault();
          const question = Object.fromEntries(new FormData(event.currentTarget));
          setError(undefined);
          setResult(undefined);
          setBusy(true);
          try {
            setResult((await call<Who>('POST', '/who-may', question)).body);
          } catch (failure) {
            setError(failure);
          }
          setBusy(false);
        }}
      >
        <Action />
        <label>
          Topic, or filter
          <input name="topic" required spellcheck={false} />
        </label>
        <label>
          Of the clients (selector; empty: all)
          <input name="selector" spellcheck={false} />
        </label>
        <button type="submit" disabled={isBusy}>
          Find
        </button>
      </form>
      <Failure error={error} />
      {result === undefined ? null : (
        <div role="status">
          <p>
            {result.clients.length} of {result.looked_at} clients
            {result.complete ? '.' : ' that were looked at; narrow the selector for the rest.'}
          </p>
          <ul class="names">
            {result.clients.map((id) => (
              <li key={id}>
                <a href={`#/clients/${encodeURIComponent(id)}`}>{id}</a>
              </li>
            ))}
          </ul>
        </div>
      )}
    </section>
  );
}

function Action() {
  return (
    <label>
      Action
      <select name="action">
        {actions.map((action) => (
          <option key={action}>{action}</option>
        ))}
      </select>
    </label>
  );
}
