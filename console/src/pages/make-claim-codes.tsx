import { useEffect, useRef, useState } from 'preact/hooks';
import { call } from '../api.ts';
import { csv } from '../csv.ts';
import { download } from '../download.ts';
import { Copyable, CopyButton, Dialog, Failure, NOT_TAKEN, when } from '../parts.tsx';
import { Table } from '../table.tsx';
import { EnrollmentFields, enrollmentIn, TemplateField } from './enrollment-fields.tsx';
import type { Template } from './templates.tsx';

/** Codes of one go. Of more, `fleetgate enrollment create --count` writes a file as it goes. */
const MAX_CODES = 500;

/** Asked for at once. */
const CONCURRENT = 8;

interface Made {
  readonly enrollment_id: string;
  readonly claim_code: string;
  readonly device: Record<string, unknown>;
  readonly expires_at?: string;
}

interface Progress {
  readonly made: readonly Made[];
  readonly of: number;
  readonly isDone: boolean;
  readonly error?: unknown;
}

/** Makes claim codes and shows them, this once. */
export function MakeClaimCodes({
  templates,
  onClose,
}: {
  templates: readonly Template[];
  onClose: () => void;
}) {
  const [progress, setProgress] = useState<Progress | undefined>();
  const [isTaken, setTaken] = useState(false);
  const [error, setError] = useState<unknown>();
  const closed = useRef(new AbortController());
  useEffect(() => () => closed.current.abort(), []);
  if (progress !== undefined) {
    return (
      <Dialog title="Claim codes" warning={isTaken ? undefined : NOT_TAKEN} onClose={onClose}>
        <Codes progress={progress} onTaken={() => setTaken(true)} />
      </Dialog>
    );
  }
  return (
    <Dialog title="Make claim codes" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await make(plansIn(new FormData(event.currentTarget)), setProgress, closed.current.signal);
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <TemplateField templates={templates} />
        <label>
          How many
          <input name="count" type="number" min={1} max={MAX_CODES} defaultValue="1" />
        </label>
        <label>
          Or a code for each of these serials, one a line
          <textarea name="serials" rows={3} spellcheck={false} />
        </label>
        <label>
          Devices that each lets in
          <input name="uses" type="number" min={1} defaultValue="1" required />
        </label>
        <EnrollmentFields defaultDays={7} />
        <Failure error={error} />
        <button type="submit">Make</button>
      </form>
    </Dialog>
  );
}

/** What is asked for, a body each. */
function plansIn(given: FormData): object[] {
  const serials = `${given.get('serials')}`.split(/\s+/).filter((serial) => serial !== '');
  const count = serials.length > 0 ? serials.length : Number(given.get('count'));
  if (!Number.isInteger(count) || count < 1 || count > MAX_CODES) {
    throw new Error(
      `from 1 to ${MAX_CODES} at once; of more: fleetgate enrollment create --from serials.csv`,
    );
  }
  const plan = { ...enrollmentIn(given), max_uses: Number(given.get('uses')) };
  return Array.from({ length: count }, (_, i) =>
    serials.length === 0 ? plan : { ...plan, device: { serial: serials[i] } },
  );
}

/** In their order, with what was made before one failed. Makes no more that nobody would see. */
async function make(
  plans: readonly object[],
  tell: (progress: Progress) => void,
  closed: AbortSignal,
): Promise<void> {
  const create = async (plan: object) => (await call<Made>('POST', '/v1/enrollments', plan)).body;
  // The first alone: what is wrong with it is wrong with all.
  const made = [await create(plans[0] as object)];
  tell({ made, of: plans.length, isDone: plans.length === 1 });
  while (made.length < plans.length && !closed.aborted) {
    const settled = await Promise.allSettled(
      plans.slice(made.length, made.length + CONCURRENT).map((plan) => create(plan)),
    );
    made.push(...settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
    const failed = settled.find((one) => one.status === 'rejected');
    const isDone = failed !== undefined || made.length === plans.length;
    tell({ made: [...made], of: plans.length, isDone, error: failed?.reason });
    if (isDone) return;
  }
}

function Codes({
  progress: { made, of, isDone, error },
  onTaken,
}: {
  progress: Progress;
  onTaken: () => void;
}) {
  const columns = ['enrollment_id', 'claim_code', 'serial', 'expires_at'];
  const serialOf = ({ device }: Made) => String(device['serial'] ?? '');
  const text = csv(
    columns,
    made.map((one) => [one.enrollment_id, one.claim_code, serialOf(one), one.expires_at ?? '']),
  );
  return (
    <>
      <p>
        <strong>These codes are shown once.</strong> What is kept of them is a hash.
      </p>
      {isDone ? null : (
        <p role="status">
          <progress max={of} value={made.length} aria-label={`${made.length} of ${of}`} /> {made.length} of{' '}
          {of}
        </p>
      )}
      {error === undefined ? null : (
        <>
          <Failure error={error} />
          <p>
            {made.length} of {of} were made, and are good.
          </p>
        </>
      )}
      {isDone ? (
        <p>
          <button
            type="button"
            onClick={() => {
              download('claim-codes.csv', text, 'text/csv;charset=utf-8');
              onTaken();
            }}
          >
            Download
          </button>{' '}
          {made.length === 1 ? null : (
            <CopyButton
              text={made.map(({ claim_code: code }) => code).join('\n')}
              name="Copy all"
              onCopied={onTaken}
            />
          )}
        </p>
      ) : null}
      {isDone && made.length === 1 ? (
        <Copyable text={made[0]?.claim_code ?? ''} name="Copy the code" onCopied={onTaken} />
      ) : (
        <Table
          rows={made}
          keyOf={({ enrollment_id: id }) => id}
          columns={[
            { name: 'Code', cell: ({ claim_code: code }) => <code>{code}</code>, isShort: true },
            { name: 'Serial', cell: serialOf },
            { name: 'Ends', cell: ({ expires_at: at }) => when(at), isShort: true },
          ]}
        />
      )}
    </>
  );
}
