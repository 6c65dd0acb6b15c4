import { randomUUID } from 'node:crypto';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import { DEFAULT_AUTH_METHOD } from '../client-auth/methods.ts';
import type { ClientRegistration, ClientsOptions } from '../client-registration.ts';
import type { JsonObject } from '../registry/registry.ts';
import type { EnrollCall, Opened } from './device-identity.ts';
import { readRow } from './device-row.ts';
import { invalid, refused } from './enroll-refusal.ts';
import type { EnrollmentHook, HookAnswer } from './enrollment-hook.ts';
import { checkPlaces } from './enrollments.ts';
import { compileTemplate } from './template.ts';
import type { Templates } from './templates.ts';

/** What a device cannot say of itself: it would be in a group, or under an id, of its own choice. */
const notOfDevices = ['client_id', 'name', 'group', 'labels', 'jwks', 'public_jwk', 'registration_id'];

export interface EnrollRegistrationOptions {
  readonly templates: Templates;
  readonly registrations: ClientsOptions;
  readonly hook: EnrollmentHook | undefined;
  readonly now: () => number;
}

/**
 * What is to be registered of a device: the template, filled with what the enrollment and the device say, as the hook
 * has amended it.
 */
export function enrollRegistration({ templates, registrations, hook, now }: EnrollRegistrationOptions) {
  return async (call: EnrollCall, { enrollment, group }: Opened) => {
    const { template, version: templateVersion } = await templates.find(enrollment.template);
    const compiled = compileTemplate(template, registrations);
    // The template may have changed since the enrollment was made.
    checkPlaces(compiled, enrollment);
    const said = checkSaid(call.device);
    refuseOther(said, enrollment.row);
    const row = readRow({
      ...said,
      ...enrollment.row,
      ...(group !== undefined && { registration_id: group.registrationId }),
    });
    if ('unreadable' in row) return invalid(row.unreadable);
    const filled = compiled.fill(row, { number: 0, uuid: randomUUID }, now());
    if (call.proven !== undefined && filled.authMethod !== 'oscore') {
      invalid('over CoAP a device gets an OSCORE context, and the template has another auth_method');
    }
    const needsKey = filled.authMethod === 'private_key_jwt';
    if (needsKey !== (call.publicJwk !== undefined)) {
      invalid(
        needsKey ? 'the device is to bring public_jwk, with its proof' : 'public_jwk is of no use here',
      );
    }
    const asked = { ...filled, ...(needsKey && { jwks: { keys: [call.publicJwk] } }) };
    const answer = await hook?.({
      enrollment_id: enrollment.id,
      template: enrollment.template,
      client_id: asked.clientId,
      name: asked.name,
      group: asked.group,
      labels: asked.labels ?? {},
      device: said,
      address: call.caller.address,
    });
    return { registration: amended(asked, answer), templateVersion };
  };
}

function checkSaid(device: JsonObject): JsonObject {
  const wrong = Object.keys(device).find((name) => notOfDevices.includes(name) || name.startsWith('labels.'));
  if (wrong !== undefined) invalid(`a device cannot say its ${wrong.slice(0, 64)}; the enrollment does`);
  return device;
}

/** A code that went to another device than it was made for; it is not used up by that. */
function refuseOther(said: JsonObject, bound: JsonObject): void {
  const other = Object.entries(bound).find(([name, value]) => {
    const own = Object.hasOwn(said, name) ? said[name] : undefined;
    if (isUnsaid(own) || isUnsaid(value)) return false;
    return (typeof own !== 'string' && typeof own !== 'number') || String(own) !== String(value);
  });
  if (other === undefined) return;
  // Not its value: who has the code of another device is told no more of that.
  const [name] = other;
  throw new FleetgateError(
    'enrollment_conflict',
    `the enrollment is for another ${name} than the device says; ` +
      'use the one that was made for this device',
  );
}

const isUnsaid = (value: unknown) => value === undefined || value === null || value === '';

function amended(
  asked: ClientRegistration & { readonly clientId: string },
  answer: HookAnswer | undefined,
): ClientRegistration & { readonly clientId: string } {
  if (answer === undefined) return { ...asked, authMethod: asked.authMethod ?? DEFAULT_AUTH_METHOD };
  if (!answer.allow) throw refused(answer.reason);
  const { name = asked.name, group = asked.group, labels } = answer;
  if (group !== undefined && !isIdentifier(group))
    invalid('the group it was given must match [A-Za-z0-9._-]{1,64}');
  return { ...asked, name, group, labels: { ...asked.labels, ...labels } };
}
