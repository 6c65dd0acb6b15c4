import { useState } from 'preact/hooks';
import { call, get, type Session } from '../api.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Table } from '../table.tsx';
import { ClaimCodes } from './claim-codes.tsx';
import { Jobs } from './jobs.tsx';
import { type Template, Templates } from './templates.tsx';

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
      <ClaimCodes templates={templates.value ?? []} mayChange={mayChange} />
      <Jobs mayChange={mayChange} />
      <Templates
        templates={templates.value}
        error={templates.error}
        mayChange={mayChange}
        onChanged={templates.again}
      />
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
