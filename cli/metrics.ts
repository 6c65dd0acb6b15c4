import { Counter, collectDefaultMetrics, Registry } from 'prom-client';

/** What `/metrics` prints: of the process, here; what each role adds to the registry, in its own place. */
export function createMetrics(auditEventsLost: () => number): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  let told = 0;
  const lost = new Counter({
    name: 'fleetgate_audit_events_lost_total',
    help: 'Audit events that were not written to broker.audit_file',
    registers: [register],
    collect() {
      const total = auditEventsLost();
      lost.inc(total - told);
      told = total;
    },
  });
  return register;
}
