/** Folder of the built page: `index.html` and `assets/`. */
export const assets: string;
