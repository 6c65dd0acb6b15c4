import { FleetgateError } from '@fleetgate/shared';

/** Seconds any one step may take; the slowest waits for a token of five seconds to be renewed. */
export const STEP_TIMEOUT_SECONDS = 30;

/**
 * Does one step and says what was seen, or what went wrong.
 * @throws FleetgateError `internal_error` when it did not happen, or not in time
 */
export async function step(
  say: (line: string) => void,
  title: string,
  act: () => Promise<string>,
  timeoutSeconds = STEP_TIMEOUT_SECONDS,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error('it took too long')), timeoutSeconds * 1000);
  });
  try {
    const seen = await Promise.race([act(), late]);
    say(`ok   ${title}\n       ${seen}`);
  } catch (error) {
    const { message } = error as Error;
    say(`FAIL ${title}\n       ${message}`);
    throw new FleetgateError('internal_error', `the demo did not see: ${title}`);
  } finally {
    clearTimeout(timer);
  }
}
