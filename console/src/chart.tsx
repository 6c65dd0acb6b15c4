import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line {
  readonly label: string;
  readonly values: readonly number[];
  /** One of the palette; lines differ by dashes too, for who sees no colours. */
  readonly color: string;
  readonly dash?: number[];
}

const darkness = matchMedia('(prefers-color-scheme: dark)');

/** Time series over the last minutes. What it shows is in a table beside it for screen readers. */
export function Chart({
  times,
  lines,
  label,
}: {
  times: readonly number[];
  lines: readonly Line[];
  label: string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const data = [
    times.map((ms) => ms / 1000),
    ...lines.map(({ values }) => values),
  ] as unknown as uPlot.AlignedData;

  // Its colours are those of when it was made.
  const [isDark, setDark] = useState(() => darkness.matches);
  useEffect(() => {
    const follow = () => setDark(darkness.matches);
    darkness.addEventListener('change', follow);
    return () => darkness.removeEventListener('change', follow);
  }, []);

  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const colors = getComputedStyle(element);
    const axis = {
      stroke: colors.getPropertyValue('--muted'),
      grid: { stroke: colors.getPropertyValue('--line') },
    };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: 200,
        legend: { live: false },
        cursor: { show: false },
        // Room for half a mark.
        padding: [12, 36, 0, 0],
        // As in the tables.
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
        axes: [
          { ...axis, space: 90, values: (_plot, moments, _axis, _space, step) => moments.map(utc(step)) },
          { ...axis, size: 56 },
        ],
        scales: {
          // At least a minute, so that the first figures are no line across.
          x: { range: (_plot, low, high) => [Math.min(low, high - 60), high] },
          y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.1)] },
        },
        series: [
          {},
          ...lines.map(({ label: name, color, dash }) => ({
            label: name,
            stroke: colors.getPropertyValue(color),
            width: 2,
            ...(dash === undefined ? {} : { dash }),
          })),
        ],
      },
      data,
      element,
    );
    plot.current = made;
    const follow = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 200 }));
    follow.observe(element);
    return () => {
      follow.disconnect();
      made.destroy();
    };
  }, [isDark]);
  useEffect(() => plot.current?.setData(data));

  const last = lines.map(({ label: name, values }) => `${name} ${Math.round(values.at(-1) ?? 0)}`).join(', ');
  return <div class="chart" ref={place} role="img" aria-label={`${label}: ${last} per second now`} />;
}

/** A moment of the axis as `14:05Z`, with seconds where the marks are closer than a minute. */
const utc = (stepSeconds: number) => (seconds: number) =>
  `${new Date(seconds * 1000).toISOString().slice(11, stepSeconds < 60 ? 19 : 16)}Z`;
