import { useRef, useState } from 'preact/hooks';
import { call } from '../api.ts';
import { addedDifference, type By, type Difference } from '../difference.ts';
import { Copyable, Failure } from '../parts.tsx';
import { Pager } from '../table.tsx';
import { DifferenceResult } from './difference-result.tsx';

interface Asked {
  readonly policy: string;
  readonly file: string;
  readonly by: By;
  readonly selector: string;
}

/** As the parser has it: a thousand rules are 60 KiB. */
const MAX_BYTES = 262_144;

/** Who gains and loses what by another policy, before it is in force. */
export function PolicyDifference() {
  const [file, setFile] = useState('');
  const [shown, setShown] = useState<{ asked: Asked; answer: Difference } | undefined>();
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const text = useRef<HTMLTextAreaElement>(null);

  async function look(asked: Asked, cursor?: string, before?: Difference): Promise<void> {
    setError(undefined);
    setBusy(true);
    try {
      const { body } = await call<Difference>('POST', '/difference', {
        ...asked,
        ...(cursor === undefined ? {} : { cursor }),
      });
      if (before !== undefined && body.policy !== before.policy) {
        await look(asked);
        return;
      }
      setShown({ asked, answer: before === undefined ? body : addedDifference(before, body) });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  async function take(chosen: File | undefined): Promise<void> {
    if (chosen === undefined || text.current === null) return;
    setShown(undefined);
    if (chosen.size > MAX_BYTES) {
      setError(new Error(`${chosen.name} has ${chosen.size} bytes; a policy has ${MAX_BYTES} at most`));
      return;
    }
    setError(undefined);
    text.current.value = await chosen.text();
    setFile(chosen.name);
  }

  return (
    <section class="card" aria-label="Another policy" aria-busy={isBusy}>
      <h2>What another policy would change</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const fields = new FormData(event.currentTarget);
          setCursors([]);
          setShown(undefined);
          void look({
            policy: String(fields.get('policy')),
            file,
            by: fields.get('by') as By,
            selector: String(fields.get('selector')).trim(),
          });
        }}
      >
        <label class="wide">
          The new policy: paste it, drop its file here, or choose one
          <textarea
            ref={text}
            name="policy"
            rows={8}
            required
            spellcheck={false}
            onInput={() => setFile('')}
            onDragOver={(event) => event.preventDefault()}
            onDrop={(event) => {
              const [dropped] = event.dataTransfer?.files ?? [];
              if (dropped === undefined) return;
              event.preventDefault();
              void take(dropped);
            }}
          />
        </label>
        <div class="row">
          <label>
            File
            <input
              type="file"
              accept=".yaml,.yml,.json,.txt"
              onChange={({ currentTarget }) => void take(currentTarget.files?.[0])}
            />
          </label>
          <label>
            Who gains and loses
            <select name="by">
              <option value="group">groups of registered clients</option>
              <option value="client">clients, one by one</option>
              <option value="scope">tokens by scope, whoever holds them</option>
            </select>
          </label>
          <label>
            Of the clients (selector; empty: all)
            <input name="selector" spellcheck={false} />
          </label>
          <button type="submit" disabled={isBusy}>
            Compare
          </button>
        </div>
      </form>
      <Failure error={error} />
      {shown === undefined ? null : (
        <>
          <DifferenceResult answer={shown.answer} />
          {shown.answer.by === 'client' ? (
            <Pager
              cursors={cursors}
              next={shown.answer.next_cursor}
              onChange={(next) => {
                setCursors(next);
                void look(shown.asked, next.at(-1));
              }}
            />
          ) : shown.answer.next_cursor === undefined ? null : (
            <p class="more">
              <button
                type="button"
                class="plain"
                disabled={isBusy}
                onClick={() => void look(shown.asked, shown.answer.next_cursor, shown.answer)}
              >
                Look at more clients
              </button>
            </p>
          )}
          <PutInForce file={shown.answer.policy_file} />
        </>
      )}
    </section>
  );
}

/** The policy is a file of the broker, and this page writes none. */
function PutInForce({ file }: { file: string }) {
  const [next, old] = [quoted(`${file}.new`), quoted(file)];
  return (
    <>
      <p class="who">
        To put it in force, save it as {file}.new on the host of the broker; then it is read within two
        seconds:
      </p>
      <Copyable text={`fleetgate policy check ${next} && mv ${next} ${old}`} />
    </>
  );
}

/** For a POSIX shell. */
const quoted = (path: string) =>
  /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
