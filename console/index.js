import { fileURLToPath } from 'node:url';

/** Folder of the built page: `index.html` and `assets/`. */
export const assets = fileURLToPath(new URL('./dist', import.meta.url));
