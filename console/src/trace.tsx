/** A decision with what led to it, as the broker makes it. */
export interface Explanation {
  readonly decision: { readonly allowed: boolean; readonly reason?: string };
  readonly because: string;
  readonly nearestMiss?: string;
  readonly notes: readonly string[];
  /** Of a refusal: scopes any of which would allow it, and how many more there are. */
  readonly needed?: readonly string[];
  readonly neededMore?: number;
}

/** Why something is allowed or refused. */
export function Trace({ explanation }: { explanation: Explanation }) {
  const { decision, because, nearestMiss, notes, needed, neededMore = 0 } = explanation;
  return (
    <div role="status">
      <p>
        <span class={decision.allowed ? 'state good' : 'state bad'}>
          {decision.allowed ? 'allowed' : `refused: ${decision.reason}`}
        </span>{' '}
        {because}
      </p>
      {nearestMiss === undefined ? null : <p>Nearest: {nearestMiss}</p>}
      {needed === undefined ? null : (
        <p>
          {needed.length === 0
            ? 'No scope of the policy allows it.'
            : `Scopes that would allow it: ${needed.join(', ')}${neededMore === 0 ? '' : ` and ${neededMore} more`}`}
        </p>
      )}
      {notes.map((note) => (
        <p class="who" key={note}>
          {note}
        </p>
      ))}
    </div>
  );
}
