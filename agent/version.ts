import { readFileSync } from 'node:fs';

// Beside the sources, or above what they are compiled into.
const place = import.meta.url.endsWith('.ts') ? './package.json' : '../package.json';

/** Of this package. In the bundle it is written in. */
export const { version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as {
  version: string;
};
