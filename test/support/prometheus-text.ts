/** One sample of the Prometheus text format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Scrape {
  /** Names of the metrics, with or without samples. */
  readonly names: readonly string[];
  readonly samples: readonly Sample[];
  /** The value of the sample with these labels and no others. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined;
}

/** Reads the text of `/metrics`. */
export function parseMetrics(text: string): Scrape {
  const names = Array.from(text.matchAll(/^# TYPE (\S+) /gm), ([, name]) => name as string);
  const samples = Array.from(
    text.matchAll(/^([a-z_:]\w*)(?:\{(.*)\})? (\S+)$/gim),
    ([, name, labels, value]) => ({
      name: name as string,
      labels: Object.fromEntries(
        Array.from((labels ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, key, of]) => [key, of]),
      ) as Record<string, string>,
      value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
    }),
  );
  return {
    names,
    samples,
    value: (name, labels = {}) =>
      samples.find(
        (sample) =>
          sample.name === name &&
          JSON.stringify(Object.entries(sample.labels).sort()) ===
            JSON.stringify(Object.entries(labels).sort()),
      )?.value,
  };
}
