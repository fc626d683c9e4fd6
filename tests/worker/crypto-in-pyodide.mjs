/**
 * Boots the pinned Pyodide under Node, runs `vectors_runner.in_pyodide` or the Sphinx benchmark on one provider,
 * and prints the answer as JSON.
 *
 *     node tests/worker/crypto-in-pyodide.mjs npm
 *     node tests/worker/crypto-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 *     node tests/worker/crypto-in-pyodide.mjs npm bench 2    the benchmark instead, 2 seconds per number
 */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [provider, ...rest] = process.argv.slice(2);
const wheels = provider === 'cryptography' ? rest.shift() : undefined;
const [task = 'vectors', seconds = '1'] = rest;

const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
pyodide.registerJsModule('smolmix_npm_crypto', await import(`${root}/build/npm-crypto.js`));
for (const folder of ['src', 'tests', 'bench']) {
  pyodide.FS.mkdirTree(`/project/${folder}`);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: `${root}/${folder}` }, `/project/${folder}`);
}
if (wheels) {
  // The folder may hold other wheels too.
  for (const name of readdirSync(wheels).filter((file) => /^(cryptography|cffi|pycparser)-.*\.whl$/.test(file))) {
    await pyodide.loadPackage(`file://${wheels}/${name}`, { messageCallback: () => {} });
  }
}
pyodide.globals.set('provider_name', provider);
pyodide.globals.set('seconds', Number(seconds));
console.log(
  pyodide.runPython(
    task === 'bench'
      ? `
import json, sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/bench"]
from smolmix_web import crypto
from smolmix_web.platform.npm_crypto import worker_provider
crypto.install(worker_provider(provider_name))
import bench_sphinx
json.dumps(bench_sphinx.measure(seconds))`
      : `
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests"]
from vectors_runner import in_pyodide
in_pyodide.run(provider_name, None, "/project/tests/vectors")`,
  ),
);
