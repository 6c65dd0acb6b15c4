import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from '../administrative-act.ts';
import type { RegistrationSettings } from '../client-registration.ts';
import type { Administrator } from '../clients.ts';
import type { TemplateRecord } from '../registry/fleet-registry.ts';
import type { Registry } from '../registry/registry.ts';
import { compileTemplate, type Template } from './template.ts';

// Ours: a list of all stays below some megabytes.
const MAX_TEMPLATES = 500;
const MAX_TEMPLATE_LENGTH = 16_384;

/** The acts on templates. Each, done or refused, is in the audit trail before its promise settles. */
export interface Templates {
  /**
   * Keeps a template as the newest version of its name; one that is as the newest makes none.
   * @throws FleetgateError `invalid_request`, `scope_malformed`, `not_supported`
   */
  put(
    name: string,
    template: Template,
    by: Administrator,
  ): Promise<{ readonly record: TemplateRecord; readonly isNew: boolean }>;
  /** @throws FleetgateError `template_unknown` */
  find(name: string, version?: number): Promise<TemplateRecord>;
  list(): Promise<TemplateRecord[]>;
  /** What it made stays. @throws FleetgateError `template_unknown` */
  delete(name: string, by: Administrator): Promise<void>;
}

export function openTemplates(
  registry: Registry,
  now: () => number,
  settings: RegistrationSettings,
): Templates {
  const { event, recorded } = administrativeActs(registry, now);

  async function find(name: string, version?: number): Promise<TemplateRecord> {
    const found = isIdentifier(name) ? await registry.findTemplate(name, version) : undefined;
    if (found !== undefined) return found;
    const which = version === undefined ? '' : ` of version ${version}`;
    throw new FleetgateError('template_unknown', `there is no such template${which}`);
  }

  return {
    put: (name, template, by) =>
      recorded('template.put', name, by, async () => {
        if (!isIdentifier(name as unknown)) invalid('the name of a template must match [A-Za-z0-9._-]{1,64}');
        compileTemplate(template, settings);
        if (JSON.stringify(template).length > MAX_TEMPLATE_LENGTH) {
          invalid(`a template must be at most ${MAX_TEMPLATE_LENGTH} characters of JSON`);
        }
        const done = event(by, 'template.put', name);
        const put = await registry.putTemplate(
          { name, template, createdAtMs: done.atMs },
          MAX_TEMPLATES,
          done,
        );
        if (put.outcome === 'full') {
          throw new OAuthError('invalid_request', `there are ${MAX_TEMPLATES} templates; delete one first`);
        }
        return { record: await find(name, put.version), isNew: put.outcome === 'created' };
      }),
    find,
    list: () => registry.listTemplates(),
    delete: (name, by) =>
      recorded('template.delete', name, by, async () => {
        await find(name);
        await registry.deleteTemplate(name, event(by, 'template.delete', name));
      }),
  };
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
