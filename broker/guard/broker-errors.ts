import { logQuietly } from '../refusal.ts';
import type { Guard } from './guard.ts';

/** Errors the host emits on the broker, as of a will it could not publish, end the process when nobody listens. */
export const brokerErrors: Guard = {
  name: 'an error of the broker is logged and ends nothing',
  install({ broker, log }) {
    broker.on('error', (error: Error) => logQuietly(log, error));
    return undefined;
  },
};
