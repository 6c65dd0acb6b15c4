import { useState } from 'preact/hooks';
import { call, get, type Session } from '../api.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Table } from '../table.tsx';

interface Template {
  readonly name: string;
  readonly version: number;
  readonly [field: string]: unknown;
}

interface Job {
  readonly job_id: string;
  readonly state: string;
  readonly template: string;
  readonly total: number;
  readonly created: number;
  readonly failed: number;
  readonly created_by: string;
  readonly updated_at: string;
}

interface Enrollment {
  readonly enrollment_id: string;
  readonly kind: string;
  readonly state: string;
  readonly template: string;
  readonly uses: number;
  readonly max_uses?: number;
  readonly expires_at?: string;
  readonly approval: boolean;
}

interface Waiting {
  readonly request_id: string;
  readonly client_id: string;
  readonly group?: string;
  readonly created_at: string;
}

/** How devices come into the registry: who waits to be let in, claim codes, jobs, templates. */
export function Provisioning({ session }: { session: Session }) {
  const waiting = useLoaded(
    'waiting',
    async () =>
      (await get<{ requests: Waiting[] }>('/v1/enrollment-requests?state=pending&limit=100')).requests,
  );
  const enrollments = useLoaded(
    'enrollments',
    async () => (await get<{ enrollments: Enrollment[] }>('/v1/enrollments?limit=50')).enrollments,
  );
  const jobs = useLoaded(
    'jobs',
    async () => (await get<{ jobs: Job[] }>('/v1/provisioning-jobs?limit=50')).jobs,
  );
  const templates = useLoaded(
    'templates',
    async () => (await get<{ templates: Template[] }>('/v1/templates')).templates,
  );
  const [rejected, setRejected] = useState<Waiting | undefined>();
  const [error, setError] = useState<unknown>();
  const mayChange = session.role !== 'auditor';

  async function settle(id: string, verdict: 'approve' | 'reject', body: unknown): Promise<void> {
    setError(undefined);
    try {
      await call('POST', `/v1/enrollment-requests/${encodeURIComponent(id)}/${verdict}`, body);
      setRejected(undefined);
      waiting.again();
    } catch (failure) {
      setError(failure);
    }
  }

  return (
    <>
      <h1>Provisioning</h1>
      <section class="card" aria-label="Waiting for approval">
        <h2>Waiting for approval</h2>
        <Failure error={waiting.error ?? error} />
        {waiting.value?.length === 0 ? (
          <Empty>No device waits.</Empty>
        ) : (
          <Table
            rows={waiting.value ?? []}
            keyOf={({ request_id: id }) => id}
            columns={[
              { name: 'Device', cell: ({ client_id: id }) => id },
              { name: 'Group', cell: ({ group }) => group },
              { name: 'Since', cell: ({ created_at: at }) => when(at), isShort: true },
              {
                name: 'Decide',
                cell: (one) =>
                  mayChange ? (
                    <>
                      <button type="button" onClick={() => void settle(one.request_id, 'approve', undefined)}>
                        Let in
                      </button>{' '}
                      <button type="button" class="grave" onClick={() => setRejected(one)}>
                        Reject
                      </button>
                    </>
                  ) : (
                    ''
                  ),
              },
            ]}
          />
        )}
      </section>
      <section class="card" aria-label="Claim codes and group keys">
        <h2>Claim codes and group keys</h2>
        <Failure error={enrollments.error} />
        {enrollments.value?.length === 0 ? (
          <Empty command="fleetgate enrollment create --template sensor --count 10 --out codes.csv --format csv">
            No device can enroll by itself.
          </Empty>
        ) : (
          <Table
            rows={enrollments.value ?? []}
            keyOf={({ enrollment_id: id }) => id}
            columns={[
              { name: 'Enrollment', cell: ({ enrollment_id: id }) => <code>{id}</code> },
              { name: 'Kind', cell: ({ kind }) => kind },
              {
                name: 'State',
                cell: ({ state }) => <span class={state === 'open' ? 'state good' : 'state'}>{state}</span>,
              },
              { name: 'Template', cell: ({ template }) => template },
              {
                name: 'Used',
                cell: ({ uses, max_uses: most }) => (most === undefined ? uses : `${uses} of ${most}`),
              },
              { name: 'Approval', cell: ({ approval }) => (approval ? 'by hand' : 'none') },
              { name: 'Ends', cell: ({ expires_at: at }) => when(at), isShort: true },
            ]}
          />
        )}
      </section>
      <section class="card" aria-label="Jobs">
        <h2>Jobs</h2>
        <Failure error={jobs.error} />
        {jobs.value?.length === 0 ? (
          <Empty command="fleetgate fleet provision --template sensor --from devices.csv --out credentials.jsonl">
            Nothing was provisioned in bulk.
          </Empty>
        ) : (
          <Table
            rows={jobs.value ?? []}
            keyOf={({ job_id: id }) => id}
            columns={[
              { name: 'Job', cell: ({ job_id: id }) => <code>{id}</code> },
              {
                name: 'State',
                cell: ({ state }) => <span class={state === 'done' ? 'state good' : 'state'}>{state}</span>,
              },
              { name: 'Template', cell: ({ template }) => template },
              {
                name: 'Progress',
                cell: ({ created, failed, total }) => (
                  <>
                    <progress
                      max={Math.max(1, total)}
                      value={created + failed}
                      aria-label={`${created + failed} of ${total}`}
                    />{' '}
                    {created} of {total}
                    {failed > 0 ? <span class="bad">, {failed} failed</span> : null}
                  </>
                ),
              },
              { name: 'By', cell: ({ created_by: by }) => by },
              { name: 'Changed', cell: ({ updated_at: at }) => when(at), isShort: true },
            ]}
          />
        )}
      </section>
      <section class="card" aria-label="Templates">
        <h2>Templates</h2>
        <Failure error={templates.error} />
        {templates.value?.length === 0 ? (
          <Empty command="fleetgate template apply sensor.yaml">There is no template.</Empty>
        ) : (
          <Table
            rows={templates.value ?? []}
            keyOf={({ name }) => name}
            columns={[
              { name: 'Template', cell: ({ name }) => name },
              { name: 'Version', cell: ({ version }) => version },
            ]}
          />
        )}
      </section>
      {rejected === undefined ? null : (
        <Dialog title={`Reject ${rejected.client_id}`} onClose={() => setRejected(undefined)}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              const reason = new FormData(event.currentTarget).get('reason');
              void settle(rejected.request_id, 'reject', { reason });
            }}
          >
            <label>
              Reason, which the device is told
              <input name="reason" required />
            </label>
            <button type="submit" class="grave">
              Reject
            </button>
          </form>
        </Dialog>
      )}
    </>
  );
}
