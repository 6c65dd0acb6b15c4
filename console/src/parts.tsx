import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Problem } from './api.ts';

/** What to do where there is nothing yet, as a command to copy. */
export function Empty({ children, command }: { children: ComponentChildren; command?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {command === undefined ? null : <Copyable text={command} />}
    </div>
  );
}

/** Text to take along. */
export function Copyable({
  text,
  name = 'Copy',
  onCopied,
}: {
  text: string;
  name?: string;
  onCopied?: (() => void) | undefined;
}) {
  return (
    <div class="copyable">
      <code>{text}</code>
      <CopyButton text={text} name={name} onCopied={onCopied} />
    </div>
  );
}

export function CopyButton({
  text,
  name,
  onCopied,
}: {
  text: string;
  name: string;
  onCopied?: (() => void) | undefined;
}) {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      onClick={async () => {
        await navigator.clipboard.writeText(text);
        setCopied(true);
        onCopied?.();
        setTimeout(() => setCopied(false), 2_000);
      }}
    >
      {isCopied ? 'Copied' : name}
    </button>
  );
}

export function Failure({ error }: { error: unknown }) {
  if (error === undefined) return null;
  const words = error instanceof Error ? error.message : String(error);
  const code = error instanceof Problem ? ` (${error.code})` : '';
  return (
    <p class="failure" role="alert">
      {words}
      {code}
    </p>
  );
}

/** Said by a dialog whose content nobody has taken along yet. */
export const NOT_TAKEN =
  'It was neither copied nor downloaded, and nobody can show it again. Close once more to lose it.';

/** A dialog that takes the keyboard, and gives it back. Escape closes it; with a `warning` the second time alone. */
export function Dialog({
  title,
  warning,
  onClose,
  children,
}: {
  title: string;
  warning?: string | undefined;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const [isWarned, setWarned] = useState(false);
  const isGone = useRef(false);
  const leave = (event: Event) => {
    if (warning === undefined || isWarned) return onClose();
    event.preventDefault();
    setWarned(true);
  };
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => {
      // Taken out of the page it is closed by nobody: that it then says so is no wish of anybody.
      isGone.current = true;
      dialog?.close();
    };
  }, []);
  return (
    <dialog ref={element} aria-label={title} onCancel={leave} onClose={() => isGone.current || onClose()}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="plain" aria-label="Close" onClick={leave}>
          ×
        </button>
      </header>
      {isWarned && warning !== undefined ? (
        <p class="failure" role="alert">
          {warning}
        </p>
      ) : null}
      {children}
    </dialog>
  );
}

export function when(moment: string | number | undefined): string {
  if (moment === undefined) return '';
  return new Date(moment)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}

/** Loads once for each `key`; `again` loads anew. The signal tells that nobody waits for it any more. */
export function useLoaded<Value>(key: string, load: (signal: AbortSignal) => Promise<Value>) {
  const [state, setState] = useState<{ value?: Value; error?: unknown; key?: string }>({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const gone = new AbortController();
    const { signal } = gone;
    load(signal).then(
      (value) => signal.aborted || setState({ value, key }),
      (error) => signal.aborted || setState({ error, key }),
    );
    return () => gone.abort();
  }, [key, turn]);
  return { ...state, isLoading: state.key !== key, again: () => setTurn((before) => before + 1) };
}
