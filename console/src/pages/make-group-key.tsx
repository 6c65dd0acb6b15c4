import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { download } from '../download.ts';
import { Copyable, Dialog, Failure, NOT_TAKEN } from '../parts.tsx';
import { EnrollmentFields, enrollmentIn, TemplateField } from './enrollment-fields.tsx';
import type { Template } from './templates.tsx';

interface Made {
  readonly enrollment_id: string;
  readonly primary_key: string;
  readonly secondary_key: string;
}

/** Makes a group key and shows its two keys, this once. */
export function MakeGroupKey({
  templates,
  onClose,
}: {
  templates: readonly Template[];
  onClose: () => void;
}) {
  // What tells its devices apart is what the key of each is derived by.
  const fitting = templates.filter(({ template }) => template.id.includes('{registration_id}'));
  const [made, setMade] = useState<Made | undefined>();
  const [isTaken, setTaken] = useState(false);
  const [error, setError] = useState<unknown>();
  if (made !== undefined) {
    return (
      <Dialog title="Group key" warning={isTaken ? undefined : NOT_TAKEN} onClose={onClose}>
        <Keys made={made} onTaken={() => setTaken(true)} />
      </Dialog>
    );
  }
  return (
    <Dialog title="Make a group key" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            setMade((await call<Made>('POST', '/v1/enrollments', planIn(event.currentTarget))).body);
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <p>
          Each device gets a key of its own, derived from it offline: none can come in the name of another.
        </p>
        <TemplateField templates={fitting} />
        {fitting.length === 0 ? (
          <p class="failure">
            No template has <code>{'{registration_id}'}</code> in its client ids; make one.
          </p>
        ) : null}
        <label>
          Devices that it lets in; empty for any number
          <input name="uses" type="number" min={1} />
        </label>
        <EnrollmentFields defaultDays={365} />
        <Failure error={error} />
        <button type="submit" disabled={fitting.length === 0}>
          Make
        </button>
      </form>
    </Dialog>
  );
}

function planIn(form: HTMLFormElement): object {
  const given = new FormData(form);
  const uses = given.get('uses');
  return {
    ...enrollmentIn(given),
    kind: 'group_key',
    ...(uses === '' ? {} : { max_uses: Number(uses) }),
  };
}

function Keys({ made, onTaken }: { made: Made; onTaken: () => void }) {
  return (
    <>
      <p>
        <strong>These keys are shown once.</strong> Either opens the group; two, so that one can be replaced
        while devices come by the other.
      </p>
      <h3>Primary</h3>
      <Copyable text={made.primary_key} name="Copy the primary key" onCopied={onTaken} />
      <h3>Secondary</h3>
      <Copyable text={made.secondary_key} name="Copy the secondary key" onCopied={onTaken} />
      <p>
        <button
          type="button"
          onClick={() => {
            download('group.json', `${JSON.stringify(made, null, 2)}\n`, 'application/json');
            onTaken();
          }}
        >
          Download
        </button>
      </p>
      <p>The keys of its devices, and what a device does with its own:</p>
      <Copyable text="(umask 077; jq -r .primary_key group.json > primary.key)" />
      <Copyable text="fleetgate enrollment derive-key A1 A2 --group-key-file primary.key --format csv" />
      <Copyable
        text={`fleetgate-agent enroll --issuer ISSUER --enrollment ${made.enrollment_id} --registration-id A1 --device-key-file device.key --out device.json`}
      />
    </>
  );
}
