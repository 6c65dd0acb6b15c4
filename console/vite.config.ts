import { defineConfig } from 'vite';

export default defineConfig({
  // Relative, so that it works under whatever path a proxy puts it.
  base: './',
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
