/** A decision with what led to it, as the broker makes it. */
export interface Explanation {
  readonly decision: { readonly allowed: boolean; readonly reason?: string };
  readonly because: string;
  readonly nearestMiss?: string;
  readonly notes: readonly string[];
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
