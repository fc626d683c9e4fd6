/**
 * Before `npm pack`: puts the assets into `assets/` (or the folder that is named), built by the Python of the checkout.
 *
 * A full Pyodide distribution (SMOLMIX_PYODIDE_DIST) adds the provider on `cryptography`; without one the package has
 * the npm provider. SMOLMIX_FEATURES ("dns,fetch") makes a package that can do no more than that.
 *
 * @module
 */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const own = [`${root}.venv/bin/python`, `${root}.venv/Scripts/python.exe`].find(existsSync);
const folder = process.argv[2] ?? 'assets';
const distribution = process.env.SMOLMIX_PYODIDE_DIST ?? 'none';
const features = process.env.SMOLMIX_FEATURES;
const command = ['-m', 'smolmix_web', 'assets', '--out', `${root}${folder}`, '--pyodide-dist', distribution, '--no-compress'];
if (features) command.push('--features', features);
const { status, error } = spawnSync(own ?? 'python3', command, {
  cwd: root,
  // npm reads the standard output of its own commands.
  stdio: ['ignore', 2, 2],
  env: { ...process.env, PYTHONPATH: `${root}src` },
});
if (error) console.error(`Python could not be started: ${error.message}`);
process.exit(status ?? 1);
