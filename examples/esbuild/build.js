import { copyFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
await build({
  absWorkingDir: here,
  entryPoints: ['main.js'],
  outfile: 'dist/main.bundle.js',
  bundle: true,
  format: 'esm',
  minify: true,
});
copyFileSync(`${here}index.html`, `${here}dist/index.html`);
