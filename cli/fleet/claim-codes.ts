import type { AdminClient } from '../admin-client.ts';
import type { EnrollmentSecret, EnrollmentView, NewEnrollment } from '../fleet-client.ts';
import type { LinedRow } from './device-rows.ts';
import { withRetries } from './provision.ts';

/** Enrollments that are made at once. */
const CONCURRENT = 8;

/** An enrollment with what opens it. */
export type MadeEnrollment = EnrollmentView & EnrollmentSecret;

/** Makes an enrollment for each row, bound to what the row says. In the order of the rows. */
export async function* enrollmentsFor(
  admin: AdminClient,
  plan: NewEnrollment,
  rows: AsyncIterable<LinedRow>,
): AsyncGenerator<MadeEnrollment> {
  let batch: Promise<MadeEnrollment>[] = [];
  for await (const { row } of rows) {
    const device = { ...plan.device, ...row };
    batch.push(withRetries(() => admin.createEnrollment({ ...plan, device })));
    if (batch.length < CONCURRENT) continue;
    yield* await Promise.all(batch);
    batch = [];
  }
  yield* await Promise.all(batch);
}
