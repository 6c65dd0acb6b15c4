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
export function Copyable({ text, name = 'Copy' }: { text: string; name?: string }) {
  return (
    <div class="copyable">
      <code>{text}</code>
      <CopyButton text={text} name={name} />
    </div>
  );
}

export function CopyButton({ text, name }: { text: string; name: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      onClick={async () => {
        await navigator.clipboard.writeText(text);
        setCopied(true);
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

/** A dialog that takes the keyboard, and gives it back. Escape closes it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={element} aria-label={title} onCancel={onClose} onClose={onClose}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="plain" aria-label="Close" onClick={onClose}>
          ×
        </button>
      </header>
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
