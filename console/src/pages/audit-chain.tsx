import { useEffect, useRef, useState } from 'preact/hooks';
import { lines } from '../api.ts';
import { Copyable, Failure } from '../parts.tsx';

type Step =
  | { readonly rows: number; readonly of: number; readonly intact?: undefined }
  | {
      readonly intact: boolean;
      readonly rows?: number;
      readonly first?: number;
      readonly checkpoint?: string;
      readonly broken_at?: number;
      readonly problem?: string;
    };

/** Whether the trail is whole, and all of it to take along. */
export function AuditChain({ filter, onShow }: { filter: string; onShow: (sequence: number) => void }) {
  const [step, setStep] = useState<Step | undefined>();
  const [error, setError] = useState<unknown>();
  const running = useRef<AbortController | undefined>(undefined);
  const [isRunning, setRunning] = useState(false);
  useEffect(() => () => running.current?.abort(), []);

  async function verify(expect: string): Promise<void> {
    const stop = new AbortController();
    running.current = stop;
    setRunning(true);
    setError(undefined);
    setStep(undefined);
    try {
      const query = expect === '' ? '' : `?${new URLSearchParams({ expect })}`;
      let last: Step | undefined;
      for await (const one of lines<Step>(`/audit/verify${query}`, stop.signal)) {
        last = one;
        setStep(one);
      }
      if (last?.intact === undefined) throw new Error('it ended before the last row; verify again');
    } catch (failure) {
      setStep(undefined);
      if (!stop.signal.aborted) setError(failure);
    }
    setRunning(false);
  }

  return (
    <section class="card" aria-label="The chain" aria-busy={isRunning}>
      <h2>The chain</h2>
      <p>
        Each event holds the hash of the one before. Rows cut off at the end show only against a checkpoint
        that was kept elsewhere.
      </p>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          void verify(`${new FormData(event.currentTarget).get('expect') ?? ''}`.trim());
        }}
      >
        <label>
          A checkpoint it must hold, SEQUENCE:HASH; may be empty
          <input name="expect" spellcheck={false} pattern="\s*(\d{1,15}:[0-9a-f]{64})?\s*" />
        </label>
        {isRunning ? (
          <button type="button" onClick={() => running.current?.abort()}>
            Stop
          </button>
        ) : (
          <button type="submit">Verify</button>
        )}
      </form>
      <div role="status">{step === undefined ? null : <Outcome step={step} onShow={onShow} />}</div>
      <Failure error={error} />
      <p>
        <a href="./api/audit/export" download>
          Export all
        </a>
        {filter === '' ? null : (
          <>
            {' · '}
            <a href={`./api/audit/export?${filter}`} download>
              Export what matches
            </a>
          </>
        )}{' '}
        as lines of JSON. All of it can be verified elsewhere, a part cannot:{' '}
        <code>fleetgate audit verify --file audit.jsonl</code>
      </p>
    </section>
  );
}

function Outcome({ step, onShow }: { step: Step; onShow: (sequence: number) => void }) {
  if (step.intact === undefined) {
    const words = `${step.rows.toLocaleString('en')} of ${step.of.toLocaleString('en')} rows`;
    return (
      <p>
        <progress max={Math.max(1, step.of)} value={step.rows} aria-label={words} /> {words}
      </p>
    );
  }
  if (step.intact) {
    return (
      <>
        <p>
          <span class="state good">whole</span>: {(step.rows ?? 0).toLocaleString('en')} rows
          {step.first === undefined ? '' : ` from ${step.first}`}. Keep the checkpoint apart from this
          machine:
        </p>
        {step.checkpoint === undefined ? null : <Copyable text={step.checkpoint} />}
      </>
    );
  }
  const at = step.broken_at as number;
  return (
    <p>
      <span class="state bad">broken</span>: row{' '}
      <button type="button" class="plain" onClick={() => onShow(at)}>
        {at}
      </button>{' '}
      {step.problem}.
    </p>
  );
}
