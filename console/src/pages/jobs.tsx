import { useEffect, useState } from 'preact/hooks';
import { call, watching } from '../api.ts';
import { Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Table } from '../table.tsx';

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

/** Between two looks at jobs that run. */
const LOOK_MS = 2_000;

/** Provisioning in bulk, as it goes on. */
export function Jobs({ mayChange }: { mayChange: boolean }) {
  const jobs = useLoaded('jobs', async () => {
    const { body } = await call<{ jobs: Job[] }>(
      'GET',
      '/v1/provisioning-jobs?limit=50',
      undefined,
      watching,
    );
    return body.jobs;
  });
  const [error, setError] = useState<unknown>();
  const isRunning = jobs.value?.some(({ state }) => state === 'running') === true;
  useEffect(() => {
    if (!isRunning) return;
    const timer = setInterval(jobs.again, LOOK_MS);
    return () => clearInterval(timer);
  }, [isRunning]);

  async function cancel(id: string): Promise<void> {
    setError(undefined);
    try {
      await call('POST', `/v1/provisioning-jobs/${encodeURIComponent(id)}/cancel`);
      jobs.again();
    } catch (failure) {
      setError(failure);
    }
  }

  return (
    <section class="card" aria-label="Jobs">
      <h2>Jobs</h2>
      <Failure error={jobs.error ?? error} />
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
            {
              name: 'Act',
              cell: ({ job_id: id, state }) =>
                mayChange && state === 'running' ? (
                  <button type="button" class="plain" onClick={() => void cancel(id)}>
                    Cancel
                  </button>
                ) : (
                  ''
                ),
            },
          ]}
        />
      )}
    </section>
  );
}
