import { copyFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import webpack from 'webpack';

const here = fileURLToPath(new URL('.', import.meta.url));
const compiler = webpack({
  mode: 'production',
  context: here,
  entry: './main.js',
  output: { path: `${here}dist`, filename: 'main.bundle.js' },
});
compiler.run((error, stats) => {
  if (error || stats.hasErrors()) {
    console.error(error ?? stats.toString('errors-only'));
    process.exitCode = 1;
    return;
  }
  copyFileSync(`${here}index.html`, `${here}dist/index.html`);
});
