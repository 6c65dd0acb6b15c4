import { useState } from 'preact/hooks';
import { call, type Session } from '../api.ts';
import { Empty, Failure } from '../parts.tsx';

/** A decision with what led to it, as the broker makes it. */
export interface Explanation {
  readonly decision: { readonly allowed: boolean; readonly reason?: string };
  readonly because: string;
  readonly nearestMiss?: string;
  readonly notes: readonly string[];
}

interface Who {
  readonly clients: readonly string[];
  readonly looked_at: number;
  readonly complete: boolean;
}

const actions = ['publish', 'subscribe', 'receive'] as const;

/** What the topic policy allows: one attempt of one client, and who may do something. */
export function Topics({ session }: { session: Session }) {
  if (!session.roles.includes('broker')) {
    return <Empty>No broker runs in this process; the policy is that of the brokers.</Empty>;
  }
  return (
    <>
      <h1>Topic access</h1>
      <Simulator />
      <WhoMay />
    </>
  );
}

function Simulator() {
  const [result, setResult] = useState<Explanation | undefined>();
  const [error, setError] = useState<unknown>();
  return (
    <section class="card" aria-label="Try an attempt">
      <h2>Try an attempt</h2>
      <form
        class="filter"
        onSubmit={async (event) => {
          event.preventDefault();
          const { qos, retain, ...fields } = Object.fromEntries(new FormData(event.currentTarget));
          setError(undefined);
          setResult(undefined);
          try {
            const question = { ...fields, qos: Number(qos), retain: retain === 'on' };
            setResult((await call<Explanation>('POST', '/decide', question)).body);
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <label>
          Client
          <input name="client_id" required spellcheck={false} />
        </label>
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
    </section>
  );
}

/** Why something is allowed or refused. */
export function Trace({ explanation }: { explanation: Explanation }) {
  const { decision, because, nearestMiss, notes } = explanation;
  return (
    <div role="status">
      <p>
        <span class={decision.allowed ? 'state good' : 'state bad'}>
          {decision.allowed ? 'allowed' : `refused: ${decision.reason}`}
        </span>{' '}
        {because}
      </p>
      {nearestMiss === undefined ? null : <p>Nearest: {nearestMiss}</p>}
      {notes.map((note) => (
        <p class="who" key={note}>
          {note}
        </p>
      ))}
    </div>
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
