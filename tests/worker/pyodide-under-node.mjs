/**
 * The pinned Pyodide under Node, with the project and a crypto provider in it, as the worker has them.
 *
 * @module
 */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Runs a Python program on a provider and prints its last value. The program finds `provider_name`; `src/` and
 * `tests/` are importable and below `/project/`.
 *
 * @param {string} program
 * @param {string[]} words of the command line: `npm`; or `cryptography` and a folder with the wheels of
 *   cryptography, cffi and pycparser
 */
export async function printResult(program, [provider, wheels]) {
  const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
  pyodide.registerJsModule('smolmix_npm_crypto', await import(`${root}/build/npm-crypto.js`));
  for (const folder of ['src', 'tests']) {
    pyodide.FS.mkdirTree(`/project/${folder}`);
    pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: `${root}/${folder}` }, `/project/${folder}`);
  }
  if (provider === 'cryptography') {
    // The folder may hold other wheels too.
    for (const name of readdirSync(wheels).filter((file) => /^(cryptography|cffi|pycparser)-.*\.whl$/.test(file))) {
      await pyodide.loadPackage(`file://${wheels}/${name}`, { messageCallback: () => {} });
    }
  }
  pyodide.globals.set('provider_name', provider);
  const prelude = `
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests"]
`;
  console.log(pyodide.runPython(prelude + program));
}
