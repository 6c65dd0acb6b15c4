import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { Dialog, Empty, Failure, when } from '../parts.tsx';
import { Table } from '../table.tsx';
import { TemplateForm } from './template-form.tsx';

export interface Template {
  readonly name: string;
  readonly version: number;
  readonly created_at: string;
  readonly template: {
    readonly id: string;
    readonly scope?: string;
    readonly auth_method?: string;
    readonly labels?: Record<string, string>;
    readonly metadata?: Record<string, unknown>;
    readonly [field: string]: unknown;
  };
}

interface Props {
  readonly templates: readonly Template[] | undefined;
  readonly error: unknown;
  readonly mayChange: boolean;
  readonly onChanged: () => void;
}

/** What devices of a kind have in common. */
export function Templates({ templates, error, mayChange, onChanged }: Props) {
  const [open, setOpen] = useState<Template | 'new' | undefined>();
  const [deleted, setDeleted] = useState<string | undefined>();
  return (
    <section class="card" aria-label="Templates">
      <h2>Templates</h2>
      <Failure error={error} />
      {mayChange ? (
        <p>
          <button type="button" onClick={() => setOpen('new')}>
            Make a template
          </button>
        </p>
      ) : null}
      {templates?.length === 0 ? (
        <Empty command="fleetgate template apply sensor.yaml">There is no template.</Empty>
      ) : (
        <Table
          rows={templates ?? []}
          keyOf={({ name }) => name}
          columns={[
            { name: 'Template', cell: ({ name }) => name },
            { name: 'Version', cell: ({ version }) => version, isShort: true },
            { name: 'Client ids', cell: ({ template }) => <code>{template.id}</code> },
            { name: 'Scopes', cell: ({ template }) => <code>{template.scope}</code> },
            { name: 'Kept', cell: ({ created_at: at }) => when(at), isShort: true },
            {
              name: 'Change',
              cell: (one) =>
                mayChange ? (
                  <>
                    <button type="button" class="plain" onClick={() => setOpen(one)}>
                      Edit
                    </button>{' '}
                    <button type="button" class="plain" onClick={() => setDeleted(one.name)}>
                      Delete
                    </button>
                  </>
                ) : (
                  ''
                ),
            },
          ]}
        />
      )}
      {open === undefined ? null : (
        <TemplateForm
          current={open === 'new' ? undefined : open}
          onClose={() => {
            setOpen(undefined);
            onChanged();
          }}
        />
      )}
      {deleted === undefined ? null : (
        <Delete
          name={deleted}
          onClose={() => {
            setDeleted(undefined);
            onChanged();
          }}
        />
      )}
    </section>
  );
}

function Delete({ name, onClose }: { name: string; onClose: () => void }) {
  const [error, setError] = useState<unknown>();
  return (
    <Dialog title={`Delete ${name}`} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await call('DELETE', `/v1/templates/${encodeURIComponent(name)}`);
            onClose();
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <p>All its versions are forgotten. What it made stays; its claim codes let nobody in any more.</p>
        <Failure error={error} />
        <button type="submit" class="grave">
          Delete
        </button>
      </form>
    </Dialog>
  );
}
