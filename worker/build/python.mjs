/**
 * Pyodide under Node, and images of its memory.
 *
 * @module
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { encodeImage } from './image.mjs';
import { scrub } from './scrub.mjs';

/**
 * @param {string} distribution folder of the npm package pyodide
 * @param {{helpers?: string, library?: string, options?: object}} [what] `helpers`: folder of our
 *     build scripts; `library`: another standard library than Pyodide's
 */
export async function startPython(distribution, { helpers, library, options } = {}) {
  const { loadPyodide } = await import(pathToFileURL(join(distribution, 'pyodide.mjs')).href);
  const lock = JSON.parse(readFileSync(join(distribution, 'pyodide-lock.json'), 'utf8'));
  const python = await loadPyodide({
    lockFileContents: { info: lock.info, packages: {} },
    packageBaseUrl: './',
    env: { HOME: '/home/pyodide', PYTHONHASHSEED: '0' },
    stdout: (/** @type {string} */ line) => console.error(line),
    stderr: (/** @type {string} */ line) => console.error(line),
    ...(library && { stdLibURL: library }),
    ...options,
  });
  if (helpers) {
    for (const name of ['prepare.py', 'replaced.py', 'slim.py', 'library.py']) python.FS.writeFile(`/tmp/${name}`, readFileSync(join(helpers, name)));
    python.runPython('import sys; sys.path.insert(0, "/tmp"); sys.dont_write_bytecode = True');
  }
  return python;
}

/**
 * @param {string} distribution
 * @param {string} archives folder of library.zip and packages.zip
 * @returns {Promise<{image: Uint8Array, modules: string[]}>} `modules`: names of all that is imported in it
 */
export async function makeImage(distribution, archives) {
  const { default: create } = await import(pathToFileURL(join(distribution, 'pyodide.asm.mjs')).href);
  /** @type {Uint8Array} */
  let pristine = new Uint8Array();
  const python = await startPython(distribution, {
    library: join(archives, 'library.zip'),
    options: {
      _makeSnapshot: true,
      createPyodideModule: (/** @type {any} */ settings) => {
        const instantiate = settings.instantiateWasm;
        settings.instantiateWasm = (/** @type {any} */ imports, /** @type {any} */ done) =>
          instantiate(imports, (/** @type {any} */ instance, /** @type {any} */ module) => {
            pristine = new Uint8Array(instance.exports.memory.buffer).slice();
            done(instance, module);
          });
        return create(settings);
      },
    },
  });
  python.FS.mkdirTree('/lib/smolmix');
  python.FS.writeFile('/lib/smolmix/packages.zip', readFileSync(join(archives, 'packages.zip')));
  const prepare = readFileSync(new URL('prepare.py', import.meta.url), 'utf8');
  python.runPython('import sys; sys.path.append("/lib/smolmix/packages.zip")');
  const namespace = python.runPython('{"__name__": "prepare"}');
  python.runPython(`${prepare}\nimport_everything(modules_of(PACKAGES))\nread_roots()\nseal()`, { globals: namespace });
  namespace.destroy();
  const modules = python.runPython('" ".join(sys.modules)').split(' ');
  python.runPython('import gc; gc.collect(); del gc, sys');
  scrub(python._module);
  return { image: encodeImage(python.makeMemorySnapshot(), pristine), modules };
}
