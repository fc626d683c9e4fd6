/**
 * Starts Pyodide from our files: from a memory image within tenths of a second, or the long way.
 *
 * @module
 */

/** @import {Downloads} from './assets.js' */
/** @import {Image} from './image.js' */

import { BootError } from './assets.js';
import { Restoration, parseImage } from './image.js';

export const LIBRARY = 'library.zip';
export const PACKAGES = 'packages.zip';
const LOADER = 'pyodide.mjs';
const MODULE = 'pyodide.asm.mjs';
const WASM = 'pyodide.asm.wasm';
/** What both ways need. */
export const CORE = [LOADER, MODULE, WASM];

const FOLDER = '/lib/smolmix';

/**
 * The part of Pyodide that is used here.
 *
 * @typedef {object} Pyodide
 * @property {string} version
 * @property {(archive: ArrayBuffer, format: 'zip', options: {extractDir: string}) => void} unpackArchive
 * @property {(name: string) => any} pyimport
 * @property {(code: string) => any} runPython
 * @property {any} FS
 */

/**
 * With everything imported, from the image.
 *
 * @param {Downloads} downloads
 * @param {string} name of the image
 * @returns {Promise<Pyodide>}
 * @throws it cannot be used
 */
export async function restorePython(downloads, name) {
  /** @type {Promise<ArrayBuffer> | null} */
  let data = downloads.bytes(name);
  data.catch(() => {});
  const [{ loadPyodide }, { default: create }] = await modules(downloads);
  const pyodide = await load(downloads, loadPyodide, {
    // Its content does not matter: the image comes in through restoreSnapshot below.
    _loadSnapshot: new Uint8Array(4),
    createPyodideModule: async (/** @type {any} */ settings) => {
      const image = parseImage(await /** @type {Promise<ArrayBuffer>} */ (data));
      data = null; // Pyodide keeps this function
      return createRestored(create, settings, image);
    },
  });
  const first = pyodide.pyimport('smolmix_web.platform.image');
  first.restored();
  first.destroy();
  return pyodide;
}

/**
 * Pyodide's module whose memory becomes the image's. (A function of its own, so that nothing but the Restoration is
 * held by the functions that Pyodide keeps.)
 *
 * @param {(settings: any) => Promise<any>} create
 * @param {any} settings
 * @param {Image} image
 */
async function createRestored(create, settings, image) {
  const restoration = new Restoration(image);
  const instantiate = settings.instantiateWasm;
  settings.instantiateWasm = (/** @type {any} */ imports, /** @type {any} */ done) =>
    instantiate(imports, (/** @type {WebAssembly.Instance} */ instance, /** @type {WebAssembly.Module} */ module) => {
      restoration.prepare(/** @type {WebAssembly.Memory} */ (instance.exports.memory));
      done(instance, module);
    });
  const module = await create(settings);
  module.API.restoreSnapshot = () => restoration.finish(module.HEAPU8);
  return module;
}

/**
 * The long way: Python initialises itself, and imports from the archives.
 *
 * @param {Downloads} downloads
 * @returns {Promise<Pyodide>}
 * @throws {BootError}
 */
export async function startPython(downloads) {
  const packages = downloads.bytes(PACKAGES);
  packages.catch(() => {});
  const [{ loadPyodide }, { default: createPyodideModule }] = await modules(downloads);
  const pyodide = await load(downloads, loadPyodide, { createPyodideModule });
  pyodide.FS.mkdirTree(FOLDER);
  pyodide.FS.writeFile(`${FOLDER}/${PACKAGES}`, new Uint8Array(await packages));
  const sys = pyodide.pyimport('sys');
  sys.path.append(`${FOLDER}/${PACKAGES}`);
  sys.destroy();
  return pyodide;
}

/** Modules and libraries that came after the start. @param {Pyodide} pyodide @param {ArrayBuffer} archive */
export function unpackLate(pyodide, archive) {
  pyodide.unpackArchive(archive, 'zip', { extractDir: `${FOLDER}/late` });
  const image = pyodide.pyimport('smolmix_web.platform.image');
  image.add_late(`${FOLDER}/late`);
  image.destroy();
}

/** @param {Downloads} downloads */
const modules = (downloads) => Promise.all([downloads.module(LOADER), downloads.module(MODULE)]);

/**
 * @param {Downloads} downloads
 * @param {(options: object) => Promise<Pyodide>} loadPyodide
 * @param {{_loadSnapshot?: Uint8Array, createPyodideModule: object}} how
 */
async function load(downloads, loadPyodide, how) {
  await checkPolicy();
  const indexURL = new URL('.', downloads.url(LOADER)).href;
  // Compiled while other files are still on their way.
  const compiled = downloads.response(WASM).then((response) => WebAssembly.compileStreaming(response));
  const files = new Map([
    [`${indexURL}pyodide.asm.wasm`, () => new Response()],
    // With an image there is nothing left to import.
    [`${indexURL}library`, () => (how._loadSnapshot ? new Response() : downloads.response(LIBRARY))],
  ]);
  return withModule(compiled, () =>
    withFetchOf(files, async () => {
      const loading = loadPyodide({
        indexURL,
        stdLibURL: `${indexURL}library`,
        // We bring our own packages; Pyodide wants a list all the same.
        lockFileContents: { info: downloads.manifest.pyodideInfo, packages: {} },
        packageBaseUrl: indexURL,
        stdout: (/** @type {string} */ line) => console.debug(line),
        stderr: (/** @type {string} */ line) => console.warn(line),
        ...how,
      });
      // Pyodide would wait for ever for an instance of a file that cannot be loaded.
      const [pyodide] = await Promise.all([loading, compiled]);
      return pyodide;
    }),
  );
}

/**
 * Where Pyodide would compile a response, it gets an instance of the module that is there already.
 *
 * @template T
 * @param {Promise<WebAssembly.Module>} compiled
 * @param {() => Promise<T>} action which instantiates one streamed module
 * @returns {Promise<T>}
 */
async function withModule(compiled, action) {
  const original = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = async (_, imports) => {
    const module = await compiled;
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
  try {
    return await action();
  } finally {
    WebAssembly.instantiateStreaming = original;
  }
}

/**
 * Pyodide asks for files by their own names, without a hash. While it starts, these requests get what has been
 * downloaded and checked.
 *
 * @template T
 * @param {Map<string, () => Response | Promise<Response>>} files
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
async function withFetchOf(files, action) {
  const original = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const file = files.get(String(input));
    return file ? file() : original(input, init);
  };
  try {
    return await action();
  } finally {
    globalThis.fetch = original;
  }
}

/** Eight bytes are the smallest module. @throws {BootError} the page's policy forbids WebAssembly */
async function checkPolicy() {
  try {
    await WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  } catch (error) {
    throw new BootError('ASSETS', `WebAssembly cannot be used; a policy needs script-src 'wasm-unsafe-eval': ${error}`);
  }
}
