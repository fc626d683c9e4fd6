/**
 * Boots the pinned Pyodide under Node, runs `vectors_runner.in_pyodide` on one provider, and prints the answer
 * as JSON.
 *
 *     node tests/worker/crypto-in-pyodide.mjs npm
 *     node tests/worker/crypto-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [provider, folderOfWheels] = process.argv.slice(2);
const wheels = provider === 'cryptography' ? folderOfWheels : undefined;

const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
pyodide.registerJsModule('smolmix_npm_crypto', await import(`${root}/build/npm-crypto.js`));
for (const folder of ['src', 'tests']) {
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
console.log(
  pyodide.runPython(`
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests"]
from vectors_runner import in_pyodide
in_pyodide.run(provider_name, None, "/project/tests/vectors")`),
);
