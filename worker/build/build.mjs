/**
 * Makes what the worker's Python starts from: archives of byte code, and a memory image with everything imported.
 *
 *     node worker/build/build.mjs '{"pyodide": "node_modules/pyodide", "out": "...", "kept": "...",
 *         "npm": "build/npm-crypto.js", "wheels": ["..."], "cryptography": ["..."]}'
 *
 * `kept` is a folder for what the next build can use again, `cryptography` may be empty. Writes `library.zip`,
 * `packages.zip`, `image.bin` and, with wheels of cryptography, `cryptography.zip`. No real entropy is drawn and no clock is read, so that the
 * image holds nothing that is secret, and equal sources give equal bytes.
 *
 * @module
 */

import nodeCrypto from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { makeImage, startPython } from './python.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));

const { pyodide: distribution, out, kept, npm: npmBundle, wheels, cryptography } = JSON.parse(process.argv[2]);

freezeTheWorld();
try {
  const python = await makeArchives(await slimLibrary());
  const { image, modules } = await makeImage(distribution, out);
  writeFileSync(join(out, 'image.bin'), image);
  await finishArchives(python, modules);
} catch (error) {
  // Node would quote the line that threw, and Pyodide's are a megabyte long.
  console.error(String(error));
  process.exitCode = 1;
}

/** The standard library as byte code; made once for a version of Pyodide. @returns {Promise<string>} its path */
async function slimLibrary() {
  const inputs = [join(distribution, 'python_stdlib.zip'), ...['slim.py', 'replaced.py', 'library.py'].map((name) => join(HERE, name))];
  const digest = nodeCrypto.createHash('sha256');
  for (const path of inputs) digest.update(readFileSync(path));
  const cached = join(kept, `stdlib-${digest.digest('hex').slice(0, 16)}.zip`);
  if (!existsSync(cached)) {
    const python = await startPython(distribution, { helpers: HERE });
    python.runPython('import library; library.slim_stdlib("/tmp/stdlib.zip")');
    mkdirSync(kept, { recursive: true });
    const partial = `${cached}.${process.pid}`;
    writeFileSync(partial, python.FS.readFile('/tmp/stdlib.zip'));
    renameSync(partial, cached);
  }
  return cached;
}

/**
 * What the image is made from: `packages.zip` and, with more than is needed in the end, `library.zip`.
 *
 * @param {string} stdlib path of the standard library as byte code
 * @returns {Promise<any>} the Python that made them
 */
async function makeArchives(stdlib) {
  const python = await startPython(distribution, { helpers: HERE, library: stdlib });
  python.globals.set('wheels', python.toPy(bring(python, wheels)));
  python.runPython(`
import sys, library
late = library.compile_packages(wheels, "/tmp/all.zip")
sys.path.append("/tmp/all.zip")
library.import_used(late)
library.trim(library.STDLIB, "/tmp/library.zip", set(sys.modules))
library.trim("/tmp/all.zip", "/tmp/packages.zip", set(sys.modules), ("smolmix_web/tls/roots.pem",))
`);
  save(python, ['library.zip', 'packages.zip']);
  return python;
}

/**
 * What depends on what the image holds.
 *
 * @param {any} python of `makeArchives`
 * @param {string[]} modules in the image
 */
async function finishArchives(python, modules) {
  python.globals.set('modules', python.toPy(modules));
  python.runPython('library.trim(library.STDLIB, "/tmp/library.zip", set(modules))');
  save(python, ['library.zip']);
  if (cryptography.length === 0) return;
  const npm = await import(pathToFileURL(npmBundle).href);
  python.registerJsModule('smolmix_npm_crypto', npm);
  python.globals.set('wheels', python.toPy(bring(python, cryptography)));
  python.runPython('library.add_cryptography(wheels, "/tmp/all.zip", "/tmp/cryptography.zip", set(modules))');
  save(python, ['cryptography.zip']);
}

/** Copies files into Python's own file system. @param {any} python @param {string[]} files @returns {string[]} where they are */
function bring(python, files) {
  return files.map((file) => {
    python.FS.writeFile(`/tmp/${basename(file)}`, readFileSync(file));
    return `/tmp/${basename(file)}`;
  });
}

/** Copies files out of it. @param {any} python @param {string[]} names */
function save(python, names) {
  for (const name of names) writeFileSync(join(out, name), python.FS.readFile(`/tmp/${name}`));
}

/** Entropy and time are constants in this process from now on, and Python is not told how it was called. */
function freezeTheWorld() {
  process.argv.splice(1);
  nodeCrypto.randomFillSync = (/** @type {any} */ view) => view.fill(0);
  globalThis.crypto.getRandomValues = (/** @type {any} */ view) => view.fill(0);
  Math.random = () => 0.5;
  Date.now = () => 0;
  performance.now = () => 0;
}
