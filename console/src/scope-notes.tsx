import { useState } from 'preact/hooks';
import { call } from './api.ts';

/** Scopes that are to be kept, with what they are for. */
interface Asked {
  readonly scope: string;
  readonly audience?: unknown;
}

/** What of scopes would grant nothing: told once before they are kept, as whoever keeps them may mean to. */
export function useScopeNotes() {
  const [told, setTold] = useState<{ readonly of: string; readonly notes: readonly string[] }>();
  return {
    notes: told?.notes ?? [],
    /** Whether there is something to be told that was not yet. */
    async tell({ scope, audience }: Asked): Promise<boolean> {
      const of = JSON.stringify([scope, audience]);
      if (told?.of === of) return false;
      const notes = await notesOn({ scope, ...(audience === undefined ? {} : { audience }) });
      setTold({ of, notes });
      return notes.length > 0;
    },
  };
}

// Where the policy is another process's, and where the scopes are wrong, it is for the answer to the act to say so.
async function notesOn(asked: Asked): Promise<readonly string[]> {
  if (asked.scope === '') return [];
  try {
    return (await call<{ notes: readonly string[] }>('POST', '/scope-notes', asked)).body.notes;
  } catch {
    return [];
  }
}

export function ScopeNotes({ notes }: { notes: readonly string[] }) {
  if (notes.length === 0) return null;
  return (
    <div class="notes" role="status">
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </div>
  );
}
