import type { Template } from './templates.tsx';

const DAY_SECONDS = 86_400;

const lifetimes = [
  { name: 'a day', days: 1 },
  { name: '7 days', days: 7 },
  { name: '30 days', days: 30 },
  { name: 'a year', days: 365 },
] as const;

export function TemplateField({ templates }: { templates: readonly Template[] }) {
  return (
    <label>
      Template
      <select name="template">
        {templates.map(({ name, template }) => (
          <option key={name} value={name}>
            {name} ({template.id})
          </option>
        ))}
      </select>
    </label>
  );
}

/** What claim codes and group keys have in common; read by {@link enrollmentIn}. */
export function EnrollmentFields({ defaultDays }: { defaultDays: (typeof lifetimes)[number]['days'] }) {
  return (
    <>
      <label>
        Good for
        <select name="days">
          {lifetimes.map(({ name, days }) => (
            <option key={days} value={days} selected={days === defaultDays}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input name="approval" type="checkbox" /> Devices wait until they are let in by hand
      </label>
      <label class="check">
        <input name="replace" type="checkbox" /> A device that is registered gets new credentials
      </label>
    </>
  );
}

/** The same as the admin API takes it. */
export function enrollmentIn(given: FormData) {
  return {
    template: given.get('template'),
    expires_at: Math.floor(Date.now() / 1000) + Number(given.get('days')) * DAY_SECONDS,
    approval: given.get('approval') !== null,
    replace: given.get('replace') !== null,
  };
}
