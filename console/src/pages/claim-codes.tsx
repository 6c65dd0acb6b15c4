import { useState } from 'preact/hooks';
import { call, get } from '../api.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Pager, Table } from '../table.tsx';
import { MakeClaimCodes } from './make-claim-codes.tsx';
import { MakeGroupKey } from './make-group-key.tsx';
import type { Template } from './templates.tsx';

interface Enrollment {
  readonly enrollment_id: string;
  readonly kind: string;
  readonly state: string;
  readonly template: string;
  readonly device: Record<string, unknown>;
  readonly uses: number;
  readonly max_uses?: number;
  readonly expires_at?: string;
  readonly approval: boolean;
}

interface Page {
  readonly enrollments: readonly Enrollment[];
  readonly next_cursor?: string;
}

/** What lets devices in by themselves. */
export function ClaimCodes({ templates, mayChange }: { templates: readonly Template[]; mayChange: boolean }) {
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const cursor = cursors.at(-1);
  const query = new URLSearchParams({ limit: '50', ...(cursor === undefined ? {} : { cursor }) });
  const page = useLoaded(`${query}`, () => get<Page>(`/v1/enrollments?${query}`));
  const [making, setMaking] = useState<'codes' | 'key' | undefined>();
  const Make = making === 'key' ? MakeGroupKey : MakeClaimCodes;
  const [revoked, setRevoked] = useState<Enrollment | undefined>();
  return (
    <section class="card" aria-label="Claim codes and group keys">
      <h2>Claim codes and group keys</h2>
      <Failure error={page.error} />
      {mayChange && templates.length > 0 ? (
        <p>
          <button type="button" onClick={() => setMaking('codes')}>
            Make claim codes
          </button>{' '}
          <button type="button" class="plain" onClick={() => setMaking('key')}>
            Make a group key
          </button>
        </p>
      ) : null}
      {page.value?.enrollments.length === 0 ? (
        <Empty command="fleetgate enrollment create --template sensor --count 10 --out codes.csv --format csv">
          No device can enroll by itself.
        </Empty>
      ) : (
        <>
          <Table
            rows={page.value?.enrollments ?? []}
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
                name: 'Device',
                cell: ({ device }) =>
                  Object.entries(device)
                    .map(([name, value]) => `${name}=${String(value)}`)
                    .join(' '),
              },
              {
                name: 'Used',
                cell: ({ uses, max_uses: most }) => (most === undefined ? uses : `${uses} of ${most}`),
              },
              { name: 'Approval', cell: ({ approval }) => (approval ? 'by hand' : 'none') },
              { name: 'Ends', cell: ({ expires_at: at }) => when(at), isShort: true },
              {
                name: 'Act',
                cell: (one) =>
                  mayChange && one.state === 'open' ? (
                    <button type="button" class="plain" onClick={() => setRevoked(one)}>
                      Revoke
                    </button>
                  ) : (
                    ''
                  ),
              },
            ]}
          />
          <Pager cursors={cursors} next={page.value?.next_cursor} onChange={setCursors} />
        </>
      )}
      {making === undefined ? null : (
        <Make
          templates={templates}
          onClose={() => {
            setMaking(undefined);
            page.again();
          }}
        />
      )}
      {revoked === undefined ? null : (
        <Revoke
          enrollment={revoked}
          onClose={() => {
            setRevoked(undefined);
            page.again();
          }}
        />
      )}
    </section>
  );
}

function Revoke({ enrollment, onClose }: { enrollment: Enrollment; onClose: () => void }) {
  const { enrollment_id: id } = enrollment;
  const [error, setError] = useState<unknown>();
  return (
    <Dialog title={`Revoke ${id}`} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await call('POST', `/v1/enrollments/${encodeURIComponent(id)}/revoke`);
            onClose();
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <p>Nobody gets in by it any more. Devices that are in stay, and those that wait are refused.</p>
        <Failure error={error} />
        <button type="submit" class="grave">
          Revoke
        </button>
      </form>
    </Dialog>
  );
}
