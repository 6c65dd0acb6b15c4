import { allMetrics } from '../all-metrics.ts';
import { table } from './table.ts';

/** Our metrics as the registry has them, those of prom-client itself not among them. */
export async function metricTable(): Promise<string> {
  const { register } = await allMetrics();
  const metrics = await register.getMetricsAsJSON();
  const rows = metrics
    .filter(({ name }) => name.startsWith('fleetgate_'))
    .map(({ name, type, help }) => [
      `\`${name}\``,
      String(type),
      labelsOf(register.getSingleMetric(name)),
      help,
    ]);
  return table(['metric', 'type', 'labels', 'what'], rows);
}

/** prom-client keeps them on the metric, and says nothing of it in its types. */
function labelsOf(metric: unknown): string {
  const { labelNames } = metric as { readonly labelNames: readonly string[] };
  return labelNames.map((name) => `\`${name}\``).join(', ');
}
