import { FleetgateError } from '@fleetgate/shared';
import type { Config } from './schema.ts';

/**
 * What `issuer.enrollment_hook` says, as an option of the issuer.
 * @throws FleetgateError `config_invalid` unless it names one of command and url
 */
export function enrollmentHookOf(hook: Config['issuer']['enrollment_hook']) {
  if (hook === undefined) return {};
  const { command, url, timeout_seconds: timeoutSeconds } = hook;
  if (command !== undefined && url === undefined) return { enrollmentHook: { command, timeoutSeconds } };
  if (command === undefined && url !== undefined) return { enrollmentHook: { url, timeoutSeconds } };
  throw new FleetgateError('config_invalid', 'issuer.enrollment_hook takes either command or url');
}
